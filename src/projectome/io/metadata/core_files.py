"""The documents beside an acquisition: subject, description, procedures, instrument, processing."""

from __future__ import annotations

from projectome.errors import Problem
from projectome.io.metadata.asset import Description, Instrument, ProcessingStep, Subject, Text
from projectome.io.metadata.stated import Node, Stated

FACTORS = ("expansion_factor", "expansion", "nominal_expansion_factor")
"""Keys under which an expansion factor is written."""
POSSIBLE = (0.1, 100.0)
MOST_PLACES = 200_000


def parse_subject(node: Node) -> Subject:
    """Return the animal; from 2.x on most of it lies one level deeper."""
    inner = node["subject_details"] if node["subject_details"] else node
    return Subject(
        id=node["subject_id"].text(),
        species=inner["species"].named(),
        sex=inner["sex"].text(),
        genotype=inner["genotype"].text(),
        strain=inner["background_strain"].text() or inner["strain"].named(),
        date_of_birth=inner["date_of_birth"].text(),
    )


def parse_description(node: Node) -> Description:
    """Return what the asset is; times of the oldest generation lie in two places."""
    day, created = node["creation_date"].text(), node["creation_time"].text()
    if day is not None and created is not None and "T" not in created.value:
        created = created.of(f"{day.value}T{created.value}")
    return Description(
        name=node["name"].text(),
        project=node["project_name"].text(),
        licence=node["license"].text(),
        institution=node["institution"].named(),
        level=node["data_level"].text(),
        created=created,
        modalities=_names(node.first("modalities", "modality")),
        funders=_names(node["funding_source"], "funder"),
        investigators=_names(node["investigators"]),
    )


def _names(node: Node, inside: str = "") -> tuple[Stated[str], ...]:
    entries = node.each() or ([node] if node else [])
    found = [(entry[inside] if inside else entry).named() for entry in entries]
    return tuple(name for name in found if name is not None)


def parse_instrument(node: Node, named: Text) -> Instrument:
    """Return the microscope.

    Parameters
    ----------
    node
        Its document.
    named
        Its name by the acquisition, which counts first.
    """
    parts = node["objectives"].each() + [
        part
        for part in node["components"].each()
        if "Objective" in (part["object_type"].value, part["device_type"].value)
    ]
    objective = parts[0] if parts else Node(None, node.source)
    return Instrument(
        id=named or node["instrument_id"].text(),
        kind=node.first("instrument_type", "type").text(),
        objective=objective["model"].text() or objective["name"].text(),
        magnification=objective["magnification"].number(),
        numerical_aperture=objective["numerical_aperture"].number(),
    )


def parse_processing(node: Node, acquisition: Node) -> tuple[ProcessingStep, ...]:
    """Return what was done to the images, in the order of the document."""
    pipeline = node["processing_pipeline"]["data_processes"].each()
    places = pipeline + node["data_processes"].each() + node["analyses"].each()
    found = []
    for place in places or acquisition["processing_steps"].each():
        code = place["code"]
        name = place["name"].text() or place.first("process_type", "process_name").text()
        if name is None:
            continue
        found.append(
            ProcessingStep(
                name=name,
                version=place.first("software_version", "code_version", "version").text()
                or code["version"].text(),
                code=place["code_url"].text() or code["url"].text(),
                started=place.first("start_date_time", "processing_start_time").moment(),
                ended=place.first("end_date_time", "processing_end_time").moment(),
            )
        )
    return tuple(found)


def find_expansion(
    nodes: list[Node], problems: list[Problem]
) -> tuple[Stated[float] | None, Stated[str] | None]:
    """Return the expansion factor where one is stated, and evidence that there was any expansion.

    Parameters
    ----------
    nodes
        The documents to look through.
    problems
        Factors that contradict one another, or are impossible, are added here.
    """
    factors: list[Stated[float]] = []
    evidence: Stated[str] | None = None
    for place in _places(nodes):
        kind = place.first("procedure_type", "type").value
        if kind == "Expansion" and evidence is None:
            evidence = place.first("procedure_type", "type").stated("Expansion")
        for name in FACTORS:
            factor = place[name].number()
            if factor is None:
                continue
            if POSSIBLE[0] <= factor.value <= POSSIBLE[1]:
                factors.append(factor)
            else:
                text = f"{factor.value:g} is no expansion factor, {POSSIBLE[0]} to {POSSIBLE[1]}."
                problems.append(place[name].warning(text))
    if len({factor.value for factor in factors}) > 1:
        listed = ", ".join(f"{factor.value:g} ({factor.where})" for factor in factors[:6])
        text = f"Different expansion factors are stated: {listed}. None is taken."
        problems.append(Problem("warning", factors[0].where, text))
        return None, evidence or factors[0].of("expansion factor")
    if not factors:
        return None, evidence
    return factors[0], evidence or factors[0].of("expansion factor")


def _places(nodes: list[Node]) -> list[Node]:
    """Return all objects inside, outermost first."""
    found: list[Node] = []
    layer = list(nodes)
    while layer and len(found) < MOST_PLACES:
        inner: list[Node] = []
        for node in layer:
            if isinstance(node.value, dict):
                found.append(node)
                inner += [
                    node[name] for name, v in node.value.items() if isinstance(v, (dict, list))
                ]
            else:
                inner += [entry for entry in node.each() if isinstance(entry.value, (dict, list))]
        layer = inner
    return found
