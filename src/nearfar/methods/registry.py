"""The methods there are: a name, which is also the file's, and a line for each. Imports nothing heavy."""

from importlib import import_module
from typing import TYPE_CHECKING

from nearfar import given
from nearfar.errors import ConfigError, UnknownName
from nearfar.methods import options
from nearfar.options import Options, declared

if TYPE_CHECKING:
    from nearfar.contract import Method

METHODS: dict[str, str] = {
    "simclr": "views of a sample attract, the views of all other samples of the batch repel (Chen et al., 2020)",
    "supcon": "samples of a class attract, other classes repel; also for data labelled in part (Khosla et al., 2020)",
    "siamese": "pairs that belong together attract, others repel up to a margin (Hadsell et al., 2006)",
    "triplet": "an anchor is nearer to its positive than to its negative by a margin (Schroff et al., 2015)",
    "infonce": "an anchor finds its positive among those of all anchors (van den Oord et al., 2018)",
    "tuplet": "an anchor finds its positive among its own negatives, given or the nearest: a softmax (Sohn, 2016)",
    "moco": "a view finds a slow encoder's key of the other view among a queue of keys (He et al., 2020)",
    "byol": "predict what a slow copy of the networks makes of another view; no negatives (Grill et al., 2020)",
    "simsiam": "predict what the same networks make of another view; no negatives, no copy (Chen & He, 2021)",
    "barlow": "dimensions agree between two views and do not repeat each other (Zbontar et al., 2021)",
    "vicreg": "views agree, dimensions vary and do not repeat each other (Bardes et al., 2022)",
    "swav": "each view predicts the cluster code of the other, clusters of equal size (Caron et al., 2020)",
    "dino": "a student predicts what its moving average says of another view, centred (Caron et al., 2021)",
    "nnclr": "the nearest neighbour of a view attracts the other view (Dwibedi et al., 2021)",
    "densecl": "as simclr, and cells of a map find their like in the other view; needs maps (Wang et al., 2021)",
    "classify": "a linear layer names the class of a sample, by cross-entropy; from scratch, or as fine-tuning",
    "adapt": "classes by the labels of one domain, and what is believed of samples without (Sohn et al., 2020)",
    "segment": "a class for each pixel of a picture, by masks: DeepLabV3+ on the encoder's maps (Chen et al., 2018)",
    "detect": "boxes around things in pictures: Faster R-CNN with a pyramid on the encoder's maps (Ren et al., 2015)",
    "distill": "a view finds what a teacher makes of its sample among those of the batch (Tian et al., 2020)",
    "clip": "the two sides of a sample find each other in the batch, with a learned temperature (Radford et al., 2021)",
    "siglip": "each pair of sides of the batch is asked by itself whether it belongs together (Zhai et al., 2023)",
    "bpr": "an anchor is nearer to its positive than to others of the batch, pair by pair (Rendle et al., 2009)",
    "cosent": "of two pairs the one with the higher score has the larger cosine; needs pairs with scores (Su, 2022)",
    "angle": "as cosent, of an angle in complex space, which does not saturate; needs scores (Li & Li, 2023)",
    "pearson": "cosines of pairs rise and fall with their scores; needs pairs with scores (Agirre et al., 2012)",
}
TRIED = ("simclr", "vicreg", "swav", "byol")
"""What `nearfar tune` tries where the first is the usual method: the kinds of methods that need views alone."""
_OPTIONS = {
    name.removesuffix("Options").lower(): kind for name, kind in vars(options).items() if isinstance(kind, type)
}


def known(name: str) -> str:
    """`name`, where a method has it; raises UnknownName."""
    if name not in METHODS:
        raise UnknownName("method", name, METHODS)
    return name


def load(name: str) -> "type[Method]":
    """The class of a method: `METHOD` of the file `nearfar/methods/<name>.py`, or a user's own; raises UnknownName."""
    if given.is_given(name):
        from nearfar.contract import Method

        own: type[Method] = given.get("method", name)
        if not issubclass(own, Method):
            raise ConfigError(f"method must be a name, a nearfar.contract.Method or its class, got {own.__name__}.")
        return own
    method: type[Method] = import_module(f"nearfar.methods.{known(name)}").METHOD
    return method


def options_of(name: str) -> type[Options]:
    """The class of a method's options, `SimCLROptions` of simclr, read without torch; raises UnknownName."""
    return _OPTIONS[known(name)]


def check_own(option: str, name: str) -> None:
    """Raise ConfigError where other methods have this option and the method `name` has not."""
    if given.is_given(name):
        return
    having = [other for other in METHODS if option in declared(options_of(other))]
    if having and name not in having:
        raise ConfigError(
            f"{option} is no option of the method {name}, but of {', '.join(having)}: leave it out, or choose one of "
            "these as method."
        )


def check_ring(name: str, given: object) -> None:
    """Raise ConfigError where the loss of the method `name` cannot compare over a ring of ranks under these options.

    It names the methods that can, and imports them all.
    """
    if load(name).rings(given):
        return
    able = []
    for other in METHODS:
        needed = load(other).ring
        if needed is not None:
            having = ", ".join(f"{key}={value}" for key, value in needed.items())
            able.append(f"{other} ({having})" if having else other)
    raise ConfigError(f"The method {name} needs gather=all with these options; a ring is for {', '.join(able)}.")
