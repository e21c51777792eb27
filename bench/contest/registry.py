"""The methods. A new one is an entry here, and a function in a file of `contest/methods`."""

from __future__ import annotations

from contest.entries import Method

OURS, SCIPY = "projectome_methods.py", "scipy_methods.py"
SKIMAGE, ITK = "skimage_methods.py", "itk_methods.py"
KIMIMARO, DIJKSTRA = "kimimaro_methods.py", "dijkstra3d_methods.py"
NEUROFLY, RIVULET = "neurofly_methods.py", "rivuletpy_methods.py"
CELLFINDER, AGGLOMERATION = "cellfinder_methods.py", "agglomeration_methods.py"

TUNED = "the threshold is the best of several on another seed"

METHODS = (
    Method(
        "projectome probability", "ridges", "", OURS, "probability",
        "tubeness over the noise around it, as the main job computes it",
    ),
    Method("projectome tubeness", "ridges", "", OURS, "tubeness", "the response alone"),
    Method(
        "smoothed grey values", "ridges", "", SCIPY, "smoothed", "a Gaussian, as the least effort"
    ),
    Method("skimage sato", "ridges", "filters", SKIMAGE, "by_sato", "defaults"),
    Method("skimage frangi", "ridges", "filters", SKIMAGE, "by_frangi", "defaults"),
    Method("skimage meijering", "ridges", "filters", SKIMAGE, "by_meijering", "defaults"),
    Method("ITK vesselness", "ridges", "filters", ITK, "vesselness", "Sato's, defaults"),
    Method("ITK objectness", "ridges", "filters", ITK, "objectness", "of lines, defaults"),
    Method(
        "NeuroFly network", "ridges", "neurofly", NEUROFLY, "probability",
        "weights as shipped (universal_tiny), on the processor; not trained on such images",
    ),
    Method("projectome", "somata", "", OURS, "somata", "defaults"),
    Method(
        "projectome, crowded", "somata", "", OURS, "crowded_somata",
        "threshold 0.3, contrast and roundness 0: what the documentation says for crowded cells",
    ),
    Method(
        "skimage blob_log", "somata", "filters", SKIMAGE, "somata",
        "the range of radii of ours, five scales; a tenth of the largest response, not tuned",
    ),
    Method(
        "cellfinder candidates", "somata", "cellfinder", CELLFINDER, "somata",
        "classical detection with defaults; its network needs weights that are not packaged",
    ),
    Method("projectome", "skeletons", "", OURS, "skeletons", "TEASAR, 1.5 radii + 2 voxels"),
    Method(
        "kimimaro", "skeletons", "skeletons", KIMIMARO, "skeletons", "TEASAR, 1.5 radii + 2 voxels"
    ),
    Method("skimage skeletonize", "skeletons", "filters", SKIMAGE, "skeletons", "thinning"),
    Method("projectome", "paths", "", OURS, "paths", "defaults"),
    Method("skimage MCP", "paths", "filters", SKIMAGE, "paths", "with the size of voxels"),
    Method("dijkstra3d", "paths", "skeletons", DIJKSTRA, "paths", "with the size of voxels"),
    Method(
        "dijkstra3d bidirectional", "paths", "skeletons", DIJKSTRA, "bidirectional",
        "an easier task: steps of all lengths cost the same",
    ),
    Method(
        "projectome", "trees", "", OURS, "trees",
        "`projectome reconstruct` with defaults, figures and report included",
    ),
    Method(
        "sato + kimimaro", "trees", "skeletons", KIMIMARO, "trees",
        f"skimage sato, then TEASAR; {TUNED}",
    ),
    Method(
        "sato + thinning", "trees", "filters", SKIMAGE, "trees",
        f"skimage sato, then skeletonize; {TUNED}",
    ),
    Method(
        "NeuroFly + thinning", "trees", "neurofly", NEUROFLY, "trees",
        "its network at 0.5, then skeletonize",
    ),
    Method(
        "rivuletpy", "trees", "rivuletpy", RIVULET, "trees",
        f"Rivulet2, which traces one neuron from one soma; {TUNED}",
        only=("neuron",),
    ),
    Method(
        "waterz", "agglomeration", "affinities", AGGLOMERATION, "by_waterz",
        "mean affinity to 0.5, nearest neighbours alone",
    ),
    Method(
        "mwatershed", "agglomeration", "affinities", AGGLOMERATION, "by_mutex_watershed",
        "affinities less 0.5",
    ),
)  # fmt: skip
