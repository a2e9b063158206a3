"""The project's goals for its models, compared with what was found."""

from __future__ import annotations

from collections.abc import Iterator

from scripts.evaluation.findings import Finding, Findings
from scripts.evaluation.webcam_set import WEBCAM_SUFFIX
from scripts.reporting.published_figures import PRIMARY_SET, PUBLISHED_SETS

Goal = tuple[str, str, str, bool]
"""What, how much is wanted, how much was measured, whether that is met."""

PSNR_TARGETS_DB = {
    "fast-x2": (37.20, 32.80),
    "fast-x4": (30.87, 27.80),
    "balanced-x2": (37.45, 33.05),
    "balanced-x4": (31.26, 28.06),
    "quality-x2": (37.70, 33.26),
    "quality-x4": (31.70, 28.33),
}
"""The least PSNR in fp32 on PUBLISHED_SETS, in dB."""
MAX_PARAMETERS_K = {
    "fast-x2": 12,
    "fast-x4": 18,
    "balanced-x2": 42,
    "balanced-x4": 55,
    "quality-x2": 152,
    "quality-x4": 170,
}
"""The most that each may have, in thousands; both are rounded to thousands."""
EAGER_SPEEDUPS = {"fast-x2": 8.0, "balanced-x2": 7.5}
"""How many times faster than eager PyTorch a model is to be in int8: 60 frames a second where that gives 10 is less."""
FAST_PEERS, MIN_PEER_SPEEDUP, MIN_PEER_GAIN_DB = ("FSRCNN", "ESPCN"), 10.0, 2.0
MIN_INT8_SPEEDUP = 1.5
MAX_LOSS_DB = {"fp16": 0.02, "int8": 0.10}
MIN_CLEANING_GAIN_DB = 0.8


def speed(found: Findings) -> Iterator[Goal]:
    """Yield the goals for times, and for what is gained at these."""
    fast = found.find("fast-x2", "int8")
    for name in FAST_PEERS:
        peer = found.find(name)
        if fast and peer and (times := found.faster(peer.rounds, "fast-x2", "int8")):
            met = times >= MIN_PEER_SPEEDUP
            yield f"fast-x2 int8 against {name}_x2: speed-up", f"at least {MIN_PEER_SPEEDUP:g}x", f"{times:.1f}x", met
            gain = fast.scores[PRIMARY_SET].psnr - peer.scores[PRIMARY_SET].psnr
            wanted = f"at least {MIN_PEER_GAIN_DB:g} dB more"
            yield f"fast-x2 int8 against {name}_x2: {PRIMARY_SET}", wanted, f"{gain:+.2f} dB", gain >= MIN_PEER_GAIN_DB
    for name, least in EAGER_SPEEDUPS.items():
        if times := found.faster(found.eager.get(name, []), name, "int8"):
            what = f"{name} int8 against the same network in eager PyTorch, fp32: speed-up"
            yield what, f"at least {least:g}x", f"{times:.1f}x", times >= least
    for entry in (e for e in found.entries if e.precision == "bf16" and WEBCAM_SUFFIX not in e.name):
        if times := found.faster(entry.rounds, entry.name, "int8"):
            what = f"{entry.name}: speed-up of int8 over bf16"
            yield what, f"at least {MIN_INT8_SPEEDUP:g}x", f"{times:.2f}x", times >= MIN_INT8_SPEEDUP


def losses(found: Findings) -> list[tuple[Finding, float]]:
    """Return what each precision but fp32 loses on the first set, in dB."""
    exact = {
        e.name: e.scores[PRIMARY_SET].psnr for e in found.entries if e.precision == "fp32" and PRIMARY_SET in e.scores
    }
    others = (
        e for e in found.entries if e.ours and e.precision != "fp32" and PRIMARY_SET in e.scores and e.name in exact
    )
    return [(e, exact[e.name] - e.scores[PRIMARY_SET].psnr) for e in others]


def fidelity(found: Findings) -> Iterator[Goal]:
    """Yield the goals for PSNR, number of parameters and greatest loss of each precision."""
    for name, wanted in PSNR_TARGETS_DB.items():
        entry = found.find(name, "fp32")
        if entry and entry.scores.keys() >= set(PUBLISHED_SETS):
            got = [round(entry.scores[each].psnr, 2) for each in PUBLISHED_SETS]
            met = all(a >= b for a, b in zip(got, wanted, strict=True))
            what = f"{name}: {' / '.join(PUBLISHED_SETS)}"
            yield what, f"{wanted[0]:.2f} / {wanted[1]:.2f} dB", f"{got[0]:.2f} / {got[1]:.2f}", met
    for name, limit in MAX_PARAMETERS_K.items():
        entry = found.find(name, "fp32")
        if entry and entry.parameters:
            count = entry.parameters
            yield f"{name}: parameters", f"at most {limit} K", f"{count / 1000:.1f} K", round(count / 1000) <= limit
    for precision, most in MAX_LOSS_DB.items():
        lost = [(loss, entry.name) for entry, loss in losses(found) if entry.precision == precision]
        if lost:
            worst, name = max(lost)
            what = f"{precision}: greatest loss on {PRIMARY_SET}"
            yield what, f"at most {most:.2f} dB", f"{worst:.3f} dB ({name})", worst <= most


def webcam(found: Findings) -> Iterator[Goal]:
    """Yield the goals for the models for webcams: that they clean, and that they do not flicker."""
    scores = {(each.name, each.precision): each.score.psnr for each in found.cleaning}
    for (name, precision), psnr in scores.items():
        clean = name.replace(WEBCAM_SUFFIX, "")
        for other in (("bicubic", ""), (clean, precision)) if WEBCAM_SUFFIX in name else ():
            if other in scores:
                gain = psnr - scores[other]
                what = f"{name} {precision} over {other[0]}, degraded {found.degraded}"
                yield what, f"at least {MIN_CLEANING_GAIN_DB:g} dB", f"{gain:+.2f} dB", gain >= MIN_CLEANING_GAIN_DB
    plain = {each.clip: each.deviation for each in found.flicker if each.name == "bicubic"}
    for each in found.flicker:
        if WEBCAM_SUFFIX in each.name:
            part = each.deviation / plain[each.clip]
            what = f"{each.name} {each.precision}: flicker on {each.clip}"
            yield what, "at most 1.00x bicubic", f"{part:.2f}x", part <= 1


def goals(found: Findings) -> list[Goal]:
    """Return all goals for which anything was measured."""
    return [*speed(found), *fidelity(found), *webcam(found)]
