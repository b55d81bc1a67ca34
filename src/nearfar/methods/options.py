"""The options of every method; imports nothing heavy, so that help stays quick."""

from dataclasses import dataclass
from typing import Any, Literal

from nearfar.errors import must
from nearfar.options import Options, Span, automatic, option

TEMPERATURES = Span(0.03, 1, log=True)
WIDEST = 65_536
"""Of a head: what is wider is a slip, or fits into no memory."""


def _temperature(default: float = 0.2) -> Any:
    return option(default, "Softmax temperature; lower weighs the hardest negatives more.", above=0, tuned=TEMPERATURES)


def _hidden(layers: str = "layer") -> Any:
    return automatic(f"Width of the projector's hidden {layers}.", least=1, most=WIDEST)


def _out(default: int = 128) -> Any:
    return option(default, "Dimensions of the space the loss is computed in.", least=2, most=WIDEST)


def _scale() -> Any:
    return option(20.0, "What differences of similarities are multiplied by.", above=0)


def _predictor(more: str = "", least: int = 1) -> Any:
    return automatic(f"Width of the predictor's hidden layer{more}.", least=least, most=WIDEST)


def _small_views() -> Any:
    return option(0, "Small views of each sample beside the two wide ones (multi-crop).", least=0, most=64)


def _samples_per_class(more: str) -> Any:
    return option(0, f"Labelled samples of each class in a batch{more}; 0 takes samples as they come.", least=0)


def _log_q() -> Any:
    return option(
        True,
        "Whether what comes often in batches is a negative that much less (logQ), for data whose samples are pairs of "
        "things that come again.",
        off="Weigh what comes often in batches as a negative as often as it comes.",
    )


@dataclass(frozen=True, kw_only=True)
class ProjectorOptions(Options):
    """Options of a projector with one hidden layer."""

    projector_hidden: int = _hidden()
    projector_out: int = option(
        128,
        "Dimensions of the space the loss is computed in; 0 is no projector: the encoder's own vectors are compared.",
        least=0,
        most=WIDEST,
    )


@dataclass(frozen=True, kw_only=True)
class SimCLROptions(ProjectorOptions):
    """Options of simclr."""

    temperature: float = automatic(
        "Softmax temperature; lower weighs the hardest negatives more.", above=0, tuned=TEMPERATURES
    )
    variant: Literal["nt_xent", "decoupled", "debiased", "hard"] = option(
        "nt_xent",
        "What a positive is weighed against: all other views, negatives alone, debiased ones, or those by hardness.",
    )
    tau_plus: float = automatic(
        "Chance that a negative is of the anchor's own class, in [0, 1), for debiased and hard.", least=0, below=1
    )
    beta: float = automatic("How much more the nearest negatives weigh, for hard; 0 weighs all alike.", least=0)

    def check(self) -> None:
        """What only some variants have."""
        debiased = self.variant in ("debiased", "hard")
        must(
            debiased or not self.tau_plus,
            f"tau_plus needs variant debiased or hard, not {self.variant}",
            got=self.tau_plus,
        )
        must(self.variant == "hard" or not self.beta, f"beta needs variant hard, not {self.variant}", got=self.beta)


@dataclass(frozen=True, kw_only=True)
class DenseCLOptions(Options):
    """Options of densecl."""

    temperature: float = _temperature()
    dense_weight: float = option(
        0.5, "Weight w of the loss of cells, in [0, 1]; 1 - w is that of the loss of whole samples.", least=0, most=1
    )
    grid: int = option(
        7,
        "Cells a side, at most, that the encoder's coarsest map is averaged to; fewer where it is smaller.",
        least=1,
        most=64,
    )
    projector_hidden: int = _hidden("layers")
    projector_out: int = _out()


@dataclass(frozen=True, kw_only=True)
class SupConOptions(ProjectorOptions):
    """Options of supcon."""

    temperature: float = _temperature()
    supervised_weight: float = automatic(
        "Weight w of the loss of labels, in (0, 1]; 1 - w is that of the loss of all samples, which needs none.",
        above=0,
        most=1,
    )
    samples_per_class: int = _samples_per_class(" (classes x samples)")


@dataclass(frozen=True, kw_only=True)
class SiameseOptions(ProjectorOptions):
    """Options of siamese."""

    margin: float = option(
        1.8,
        "Distance from which dissimilar samples are let be, in (0, 2]; orthogonal ones are 1.41 apart.",
        above=0,
        most=2,
    )
    supervised: bool = option(
        False, "Whether samples of one class are similar, where else only views of one sample are; needs labels."
    )


@dataclass(frozen=True, kw_only=True)
class TripletOptions(ProjectorOptions):
    """Options of triplet."""

    margin: float = option(
        0.2,
        "How much farther than the positive the negative must be, in (0, 2]; latents have length 1.",
        above=0,
        most=2,
    )
    mining: Literal["semi_hard", "hard", "all"] = option("semi_hard", "Which triplets of a batch are learnt from.")
    supervised: bool = option(
        False, "Whether samples of one class are positives, where else only views of one sample are; needs labels."
    )
    samples_per_class: int = _samples_per_class(", with `supervised`")

    def check(self) -> None:
        """Classes are drawn only where they count."""
        must(
            self.supervised or not self.samples_per_class,
            "samples_per_class goes with supervised, and must be 0 without",
            got=self.samples_per_class,
        )


@dataclass(frozen=True, kw_only=True)
class InfoNCEOptions(ProjectorOptions):
    """Options of infonce."""

    temperature: float = _temperature()
    supervised: bool = option(
        False, "Whether all samples of a class are positives, where else a sample has one; needs labels."
    )
    selection: Literal["all", "hardest"] = option(
        "all", "Which candidates of the batch are an anchor's negatives: all others, or the nearest one alone."
    )
    guard: Literal["off", "self", "start"] = option(
        "off",
        "Who tells false negatives, candidates as near as the positive, which are then left out (GISTEmbed): nobody, "
        "the encoder itself, or the encoder as it was before training.",
    )
    guard_margin: float = option(
        0.0, "By how much less near than the positive a candidate is left out by the guard, too.", least=-1, most=1
    )
    log_q: bool = _log_q()
    consistency: float = option(
        0.0,
        "Weight of a second loss: each view finds itself seen again among the others (SGL and SimGCL, with "
        "edge_dropout or graph_noise of graphs).",
        least=0,
    )

    def check(self) -> None:
        """What goes with what."""
        alone = not self.supervised and self.selection == "all" and self.guard == "off"
        must(
            alone or not self.consistency,
            "consistency must be 0 with supervised, selection or guard",
            got=self.consistency,
        )
        must(
            not self.supervised or self.selection == "all", "selection must be all with supervised", got=self.selection
        )
        plain = not self.supervised and self.selection == "all"
        must(plain or self.guard == "off", "guard must be off with supervised or selection hardest", got=self.guard)
        must(
            self.guard != "off" or not self.guard_margin, "guard_margin must be 0 without guard", got=self.guard_margin
        )


@dataclass(frozen=True, kw_only=True)
class MoCoOptions(ProjectorOptions):
    """Options of moco."""

    temperature: float = _temperature()
    queue: int = automatic(
        "Keys of earlier batches that serve as negatives (v2); 0 takes those of the batch itself (v3).", least=0
    )
    momentum: float = automatic(
        "How much of itself the momentum encoder keeps in a step, at the start; it rises to 1.", least=0, most=1
    )
    norm_group: int = option(
        0,
        "Samples that share batch-norm statistics, drawn anew for keys (32 in the paper); 0 is the whole batch.",
        least=0,
    )
    predictor_hidden: int = _predictor("; 0 is no predictor", least=0)

    def check(self) -> None:
        """One sample has no batch statistics."""
        must(self.norm_group != 1, "norm_group must be 0 or at least 2", got=self.norm_group)


@dataclass(frozen=True, kw_only=True)
class BYOLOptions(Options):
    """Options of byol."""

    projector_hidden: int = _hidden()
    projector_out: int = _out(256)
    predictor_hidden: int = _predictor()
    momentum: float = automatic(
        "Share of itself that the target keeps at each step, at the run's start; rises to 1.", least=0, most=1
    )


@dataclass(frozen=True, kw_only=True)
class SimSiamOptions(Options):
    """Options of simsiam."""

    projector_hidden: int = _hidden("layers")
    projector_out: int = automatic("Dimensions of the space the loss is computed in.", least=2, most=WIDEST)
    predictor_hidden: int = _predictor(", a bottleneck")


@dataclass(frozen=True, kw_only=True)
class BarlowOptions(Options):
    """Options of barlow."""

    redundancy: float = option(5e-3, "Weight of the correlations of different dimensions.", least=0)
    projector_hidden: int = _hidden("layers")
    projector_out: int = automatic("Dimensions that are decorrelated.", least=2, most=WIDEST)


@dataclass(frozen=True, kw_only=True)
class VICRegOptions(Options):
    """Options of vicreg."""

    invariance: float = option(25.0, "Weight of the distance between views.", least=0)
    variance: float = option(25.0, "Weight of what dimensions lack of a standard deviation of 1.", least=0)
    covariance: float = option(1.0, "Weight of the covariances of different dimensions.", least=0)
    projector_hidden: int = _hidden("layers")
    projector_out: int = automatic("Dimensions that are decorrelated.", least=2, most=WIDEST)


@dataclass(frozen=True, kw_only=True)
class SwAVOptions(Options):
    """Options of swav."""

    temperature: float = option(0.1, "Softmax temperature of the predictions.", above=0, tuned=TEMPERATURES)
    sinkhorn_epsilon: float = automatic("Temperature of the codes; lower makes them harder.", above=0)
    prototypes: int = automatic("Number of clusters; a few times what the data has of kinds.", least=2, most=2**20)
    projector_hidden: int = _hidden()
    projector_out: int = _out()
    small_views: int = _small_views()
    queue: int = option(
        0, "Earlier samples that the codes are balanced over together with the batch; 0 for none.", least=0, most=2**24
    )


@dataclass(frozen=True, kw_only=True)
class DINOOptions(Options):
    """Options of dino."""

    temperature: float = option(0.1, "Softmax temperature of the student.", above=0, tuned=TEMPERATURES)
    teacher_temperature: float = automatic(
        "Softmax temperature of the teacher after its warm-up; lower makes its targets sharper.", above=0
    )
    teacher_temperature_start: float = automatic(
        "Softmax temperature of the teacher at the start, from where it rises in a line over the first 0.3 of the run.",
        above=0,
    )
    center_momentum: float = option(
        0.9, "How slowly the centre follows the mean of the teacher's scores.", least=0, most=1
    )
    momentum: float = automatic("How slowly the teacher follows the student at the start; rises to 1.", least=0, most=1)
    prototypes: int = automatic("Outputs of the last layer.", least=2, most=2**20)
    projector_hidden: int = _hidden("layers")
    projector_out: int = option(256, "Dimensions of the bottleneck in front of the last layer.", least=2, most=WIDEST)
    small_views: int = _small_views()


@dataclass(frozen=True, kw_only=True)
class NNCLROptions(Options):
    """Options of nnclr."""

    temperature: float = _temperature()
    queue: int = automatic("Projections of earlier batches among which neighbours are looked for.", least=1)
    projector_hidden: int = _hidden("layers")
    projector_out: int = _out()
    predictor_hidden: int = _predictor()


@dataclass(frozen=True, kw_only=True)
class CLIPOptions(Options):
    """Options of clip."""

    temperature: float = automatic(
        "Softmax temperature at the start, at least 0.01; it is learned from there.", least=0.01
    )
    projector_out: int = _out()
    log_q: bool = _log_q()


@dataclass(frozen=True, kw_only=True)
class SigLIPOptions(ProjectorOptions):
    """Options of siglip."""

    temperature: float = option(0.1, "What cosines are divided by at the start; it is learned from there.", above=0)
    bias: float = automatic("What is added to each pair's logit at the start; it is learned from there.")


@dataclass(frozen=True, kw_only=True)
class BPROptions(ProjectorOptions):
    """Options of bpr."""

    temperature: float = _temperature()
    negatives: int = option(16, "Other samples of the batch that each positive is to score above.", least=1)


@dataclass(frozen=True, kw_only=True)
class TupletOptions(ProjectorOptions):
    """Options of tuplet."""

    temperature: float = _temperature(0.1)
    mined: int = option(
        96,
        "Nearest candidates of the batch that are negatives of an anchor, beside the one that the data gives for it.",
        least=0,
        most=WIDEST,
    )


@dataclass(frozen=True, kw_only=True)
class ClassifyOptions(Options):
    """Options of classify."""

    classes: int = automatic("Number of classes; that of the data when not given.", least=2, most=2**20)
    label_smoothing: float = option(
        0.0, "Share of each label that is spread over all classes, in [0, 1).", least=0, below=1
    )
    frozen: bool = option(False, "The encoder stays as it is; the head alone learns.")
    balanced: bool = option(False, "Learn as if all classes were equally frequent: rare ones are named more often.")


@dataclass(frozen=True, kw_only=True)
class AdaptOptions(ClassifyOptions):
    """Options of adapt."""

    pseudo_weight: float = automatic(
        "Weight of the classes that samples without a label are taken for; 0 leaves them out.", least=0
    )
    confidence: float = option(
        0.9, "How probable a class must be for a sample without a label to be taken for it.", above=0, most=1
    )
    even: bool = option(
        True,
        "Samples without a label are expected to be of the classes as often as labelled ones.",
        off="Samples without a label may be of other classes than labelled ones, or of one class mostly.",
    )
    contrast_weight: float = option(
        0.0,
        "Weight of contrast across domains: samples of a class attract, by labels or what they are taken for.",
        least=0,
    )
    contrast_temperature: float = option(0.1, "Temperature of that contrast.", above=0)
    align: Literal["none", "coral", "adversarial", "statistics"] = option(
        "none",
        "How the vectors of domains are made alike: by covariances, or so that a critic cannot tell them apart; or by "
        "batch norms, which learn with the statistics of labelled samples, and end with those of the others.",
    )
    align_weight: float = option(1.0, "Weight of covariances, or of the critic.", least=0)

    def check(self) -> None:
        """With statistics, samples without a label come in at the end alone."""
        if self.align == "statistics":
            for name in ("pseudo_weight", "contrast_weight"):
                given = getattr(self, name)
                must(not given, f"{name} must be 0 with align statistics, which learns from labels alone", got=given)


@dataclass(frozen=True, kw_only=True)
class SegmentOptions(Options):
    """Options of segment."""

    classes: int = automatic("Number of classes; that of the data when not given.", least=2, most=2**20)
    frozen: bool = option(False, "The encoder stays as it is; the head alone learns.")
    head_width: int = automatic("Channels of the layers of the head.", least=8, most=4096)


@dataclass(frozen=True, kw_only=True)
class DetectOptions(SegmentOptions):
    """Options of detect."""


@dataclass(frozen=True, kw_only=True)
class DistillOptions(Options):
    """Options of distill."""

    form: Literal["contrast", "similarity", "cosine", "mse"] = option(
        "contrast",
        "What of the teacher is learnt: to find its vector of the sample among those of the batch, how alike it finds "
        "the samples of the batch, or its vectors, by cosine or squared error.",
    )
    temperature: float = _temperature(0.1)
    teacher_temperature: float = option(
        0.05, "Softmax temperature of the teacher, for `similarity`; lower makes its targets sharper.", above=0
    )
    projector_hidden: int = option(
        0,
        "Width of a hidden layer between the encoder and the teacher's vectors; 0 is a linear map.",
        least=0,
        most=WIDEST,
    )
    target_dim: int = automatic("Dimensions of the teacher's vectors.", least=1, most=2**24)


@dataclass(frozen=True, kw_only=True)
class CoSENTOptions(Options):
    """Options of cosent."""

    scale: float = _scale()


@dataclass(frozen=True, kw_only=True)
class AnglEOptions(Options):
    """Options of angle."""

    scale: float = _scale()


@dataclass(frozen=True, kw_only=True)
class PearsonOptions(Options):
    """Options of pearson."""
