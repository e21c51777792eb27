"""Points in tables, marker files and neuroglancer states; what a file is, its content says."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projectome.core.points import Points
from projectome.core.space import Space
from projectome.errors import FormatError, ParameterError, ProjectomeError
from projectome.io.points import read_cell_counter, read_points, write_points
from projectome.io.stores import read_bytes, write_bytes
from projectome.io.tables import write_table
from projectome.testing import strategies as draws

DATA = Path(os.environ.get("PROJECTOME_TEST_DATA") or Path(__file__).parents[3] / "shared/data")


def same(a: Points, b: Points) -> None:
    assert a.space == b.space
    np.testing.assert_array_equal(a.coordinates, b.coordinates)
    assert set(a.columns) == set(b.columns)
    for name in a.columns:
        np.testing.assert_array_equal(a[name], b[name])
        assert a[name].dtype == b[name].dtype, name


# --- points --------------------------------------------------------------------------------------


@given(draws.points())
def test_points_round_trip_through_parquet_with_their_space(points):
    write_points(points, "memory://tables/p.parquet")
    found = read_points("memory://tables/p.parquet")
    same(found, points.with_columns(id=np.arange(1, len(points) + 1)))


@given(draws.points())
def test_points_round_trip_through_csv_given_the_space(points):
    write_points(points, "memory://tables/p.csv")
    found = read_points("memory://tables/p.csv", space=points.space)
    if len(points):
        same(found, points.with_columns(id=np.arange(1, len(points) + 1)))
    assert len(found) == len(points)


def test_the_header_of_points(tmp_path):
    points = Points([[3, 2, 1]], Space(), {"score": np.array([0.5]), "id": np.array([7])})
    write_points(points, tmp_path / "p.csv")
    assert (tmp_path / "p.csv").read_text() == "id,z_um,y_um,x_um,score\n7,3.0,2.0,1.0,0.5\n"


@given(st.sampled_from([("mm", 1000.0), ("nm", 1e-3), ("um", 1.0), ("micrometer", 1.0)]))
def test_the_unit_stands_in_the_name(pair):
    unit, factor = pair
    table = pd.DataFrame({f"x_{unit}": [1.0], f"y_{unit}": [2.0], f"z_{unit}": [3.0]})
    write_table(table, "memory://tables/u.csv")
    found = read_points("memory://tables/u.csv")
    np.testing.assert_allclose(found.coordinates, [[3 * factor, 2 * factor, factor]])
    assert found.columns == {}


def test_voxels_are_not_micrometres(tmp_path):
    voxels = Points([[3, 2, 1]], Space.voxels())
    write_points(voxels, tmp_path / "p.csv")
    assert read_points(tmp_path / "p.csv").space.unit == "voxel"
    with pytest.raises(FormatError, match="convert them with the grid"):
        read_points(tmp_path / "p.csv", space=Space())


def test_points_that_cannot_be_read(tmp_path):
    path = tmp_path / "p.csv"
    for text, message in (
        ("a,y,x\n1,2,3\n", "Name the coordinates with their unit"),
        ("z_um,y_um,x_um\n1,2,\n", "point 1 has a coordinate that is missing"),
        ("z_um,y_um,x_um\n1,2,-1e200\n", "out of reach"),
        ("z_um,y_um,x_um\n1,2,3\n1,inf,3\n", "point 2"),
        ("z_um,y_um,x_um\n1,a,3\n", "'y_um' is not all numbers"),
    ):
        path.write_text(text)
        with pytest.raises(FormatError, match=message):
            read_points(path)
    with pytest.raises(ParameterError, match="'z_um' has the name of a coordinate"):
        write_points(Points([[0, 0, 0]], Space(), {"z_um": np.zeros(1)}), path)


def test_a_space_that_is_not_understood(tmp_path):
    frame = pd.DataFrame({"z_um": [0.0], "y_um": [0.0], "x_um": [0.0]})
    for said in ({"name": "a"}, {"name": "a", "axes": 5}, "scan"):
        write_table(frame, tmp_path / "p.parquet", metadata={"space": said})
        with pytest.raises(FormatError, match="describes its space"):
            read_points(tmp_path / "p.parquet")


# --- cell counter --------------------------------------------------------------------------------

XML = """<?xml version="1.0" encoding="UTF-8"?>
<CellCounter_Marker_File><Image_Properties/><Marker_Data><Current_Type>1</Current_Type>
<Marker_Type><Type>1</Type></Marker_Type>
<Marker_Type><Type>2</Type>
<Marker><MarkerX>10</MarkerX><MarkerY>20</MarkerY><MarkerZ>3</MarkerZ></Marker>
</Marker_Type></Marker_Data></CellCounter_Marker_File>"""


def test_markers_are_voxels(tmp_path):
    (tmp_path / "c.xml").write_text(XML)
    found = read_cell_counter(tmp_path / "c.xml", voxel_size=(5, 2, 1), translation=(100, 0, 0))
    np.testing.assert_array_equal(found.coordinates, [[115, 40, 10]])
    assert found["type"].tolist() == [2]
    counted_from_one = read_cell_counter(tmp_path / "c.xml", voxel_size=(5, 2, 1), first_plane=1)
    assert counted_from_one.coordinates[0, 0] == 10


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.replace("<MarkerY>20</MarkerY>", ""), "marker 1 of type 2"),
        (lambda t: t.replace("20", "nan"), "marker 1 of type 2"),
        (lambda t: t.replace("<Type>2</Type>", ""), "no number"),
        (lambda t: t.replace("CellCounter_Marker_File", "svg"), "holds 'svg'"),
        (lambda t: t[:100], "is not XML"),
        (lambda t: "", "is not XML"),
    ],
)
def test_broken_marker_files(tmp_path, change, message):
    (tmp_path / "c.xml").write_text(change(XML))
    with pytest.raises(FormatError, match=message):
        read_cell_counter(tmp_path / "c.xml", voxel_size=(1, 1, 1))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_entities_are_not_expanded(tmp_path, encoding):
    bomb = '<!DOCTYPE a [<!ENTITY b "bbb"><!ENTITY c "&b;&b;">]><CellCounter_Marker_File>&c;'
    (tmp_path / "c.xml").write_text(bomb + "</CellCounter_Marker_File>", encoding=encoding)
    with pytest.raises(FormatError, match="document type"):
        read_cell_counter(tmp_path / "c.xml", voxel_size=(1, 1, 1))


@pytest.mark.realdata
@pytest.mark.skipif(not DATA.is_dir(), reason=f"no test data in {DATA}")
def test_published_markers():
    """56 cells of type 2 in planes 10 to 19 of a stack of 30 x 510 x 667 voxels of 5 x 2 x 2 um."""
    found = read_cell_counter(DATA / "cellfinder/cell_classification.xml", voxel_size=(5, 2, 2))
    assert len(found) == 56
    assert set(found["type"].tolist()) == {2}
    voxels = found.coordinates / (5, 2, 2)
    assert (voxels[:, 0].min(), voxels[:, 0].max()) == (10, 19)
    assert (voxels < (30, 510, 667)).all()


# --- tables of other programs --------------------------------------------------------------------


def test_tables_in_voxels_need_the_size_of_a_voxel(tmp_path):
    """``cell_likelihoods.csv`` of the SmartSPIM pipeline, of either generation."""
    for text in (
        ",x,y,z,Class,Cell Likelihood\n0,10,20,3,1,0.93\n",
        "Z,Y,X,Z_center,dist,r,fg,bg\n3,20,10,3.2,22.6,0.9,300,100\n",
    ):
        (tmp_path / "c.csv").write_text(text)
        with pytest.raises(FormatError, match=r"without a unit. Pass voxel_size=\(z, y, x\)"):
            read_points(tmp_path / "c.csv")
        found = read_points(tmp_path / "c.csv", voxel_size=(2.0, 1.8, 1.8), translation=(100, 0, 0))
        np.testing.assert_allclose(found.coordinates, [[106, 36, 18]])
        assert found.space == Space()
        own = read_points(tmp_path / "c.csv", voxel_size=1, expansion=3.0)
        assert own.coordinates.tolist() == [[3, 20, 10]]
        assert own.space.expansion == 3
    assert found["fg"].tolist() == [300]


def test_the_centre_of_voxel_0_is_at_its_translation(tmp_path):
    (tmp_path / "c.csv").write_text("z,y,x\n0,0,0\n")
    found = read_points(tmp_path / "c.csv", voxel_size=(4, 2, 2), translation=(2, 1, 1))
    assert found.coordinates.tolist() == [[2, 1, 1]]


def test_soma_tables_have_triples(tmp_path):
    """Those of the ExA-SPIM pipeline: physical, in the order (x, y, z)."""
    text = (
        'xyz,Brightness,Volume (µm³)\n"(1.5, -2e3, 3)",10,20\n'
        '"(np.float64(4.0), np.float64(5.0), np.float64(6.0))",11,21\n[7. 8. 9.],12,22\n'
    )
    (tmp_path / "somas-1.csv").write_text(text, encoding="utf-8")
    found = read_points(tmp_path / "somas-1.csv")
    assert found.coordinates.tolist() == [[3, -2000, 1.5], [6, 5, 4], [9, 8, 7]]
    assert found["Brightness"].tolist() == [10, 11, 12]
    (tmp_path / "somas-1.csv").write_text('xyz\n"(1, 2)"\n')
    with pytest.raises(FormatError, match=r"point 1 has .* not three numbers"):
        read_points(tmp_path / "somas-1.csv")


def test_voxels_become_micrometres_with_a_voxel_size(tmp_path):
    write_points(Points([[3, 2, 1]], Space.voxels()), tmp_path / "p.parquet")
    found = read_points(tmp_path / "p.parquet", voxel_size=(4, 2, 2))
    assert found.coordinates.tolist() == [[12, 4, 2]]
    assert found.space.unit == "micrometer"


def test_a_size_does_not_touch_micrometres(tmp_path):
    write_points(Points([[3, 2, 1]], Space()), tmp_path / "p.parquet")
    assert read_points(tmp_path / "p.parquet", voxel_size=9).coordinates.tolist() == [[3, 2, 1]]


def test_content_and_not_the_name_says_what_a_file_is(tmp_path):
    write_points(Points([[3, 2, 1]], Space("gel", expansion=4)), tmp_path / "p.parquet")
    (tmp_path / "p.parquet").rename(tmp_path / "points.dat")
    assert read_points(tmp_path / "points.dat").space.expansion == 4
    (tmp_path / "markers").write_text(XML)
    assert read_points(tmp_path / "markers", voxel_size=2).coordinates.tolist() == [[6, 40, 20]]
    with pytest.raises(FormatError, match=r"has voxels for coordinates. Pass voxel_size="):
        read_points(tmp_path / "markers")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x93NUMPY\x01\0", "bare numpy array.*allow_pickle=False"),
        (b"\x1f\x8b\x08", "none of the formats of points"),
        (b"a,b\0c", "none of the formats of points"),
        (b"<things/>", "XML of 'things'.*read_skeletons"),
        (b"{}", "not a neuroglancer state"),
        (b"", "is not a csv table"),
        (b"PAR1abcd", "is not a parquet table"),
    ],
)
def test_what_is_no_points(tmp_path, data, message):
    (tmp_path / "p").write_bytes(data)
    with pytest.raises(FormatError, match=message):
        read_points(tmp_path / "p", voxel_size=1)


@given(st.binary(max_size=60) | st.text("xyz_um,0.\n\"'-e", max_size=60).map(str.encode))
def test_any_bytes_are_points_or_our_error(data):
    for name, voxel_size in (("any.csv", None), ("any.parquet", 2.0), ("any", 2.0)):
        write_bytes(f"memory://points/{name}", data)
        try:
            found = read_points(f"memory://points/{name}", voxel_size=voxel_size)
        except ProjectomeError:
            continue
        assert np.isfinite(found.coordinates).all()


@given(st.data())
def test_mutated_parquet(data):
    write_points(Points(np.ones((20, 3)), Space()), "memory://points/m.parquet")
    broken = bytearray(read_bytes("memory://points/m.parquet"))
    for _ in range(data.draw(st.integers(1, 4))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    write_bytes("memory://points/m.parquet", bytes(broken))
    try:
        read_points("memory://points/m.parquet")
    except ProjectomeError:
        return


@pytest.mark.realdata
@pytest.mark.skipif(not DATA.is_dir(), reason=f"no test data in {DATA}")
def test_published_boutons():
    """Vaa3D's tables of 25 um atlas voxels: their x, y, z are those of the neuron's SWC file."""
    from projectome.io.skeletons import read_skeletons

    name = "18869_3504_x6554_y5961_ssp-m"
    boutons = read_points(DATA / f"neurons_ccf/car_boutons/{name}.apo", voxel_size=25)
    archive = DATA / "neurons_ccf/car/car_more.zip"
    (neuron,) = read_skeletons(archive, only=[name], scale=25)
    nodes = neuron.skeleton.coordinates
    nearest = [np.linalg.norm(nodes - point, axis=1).min() for point in boutons.coordinates[::10]]
    assert np.median(nearest) < 25
