"""What this project wants of its models, held against what was found."""

from __future__ import annotations

from collections.abc import Iterator

from scripts.evaluation.findings import Finding, Findings
from scripts.evaluation.published_figures import FIRST, SETS
from scripts.evaluation.webcam_set import MARK

Goal = tuple[str, str, str, bool]
"""What, how much is wanted, how much was measured, whether that is met."""

TARGETS = {
    "fast-x2": (37.20, 32.80),
    "fast-x4": (30.87, 27.80),
    "balanced-x2": (37.45, 33.05),
    "balanced-x4": (31.26, 28.06),
    "quality-x2": (37.70, 33.26),
    "quality-x4": (31.70, 28.33),
}
"""PSNR in fp32 on SETS, in dB."""
PARAMETERS = {
    "fast-x2": 12,
    "fast-x4": 18,
    "balanced-x2": 42,
    "balanced-x4": 55,
    "quality-x2": 152,
    "quality-x4": 170,
}
"""How many each was to have at most, in thousands, to the nearest of which both are told."""
EAGER = {"fast-x2": 8.0, "balanced-x2": 7.5}
"""How many times faster than eager PyTorch a model is to be in int8: 60 frames a second where that gives 10 is less."""
PEERS, PEER_TIMES, PEER_GAIN = ("FSRCNN", "ESPCN"), 10.0, 2.0
INT8_TIMES = 1.5
LOSS = {"fp16": 0.02, "int8": 0.10}
CLEANING = 0.8


def speed(found: Findings) -> Iterator[Goal]:
    """Times, and what is gained for them."""
    fast = found.find("fast-x2", "int8")
    for name in PEERS:
        peer = found.find(name)
        if fast and peer and (times := found.faster(peer.rounds, "fast-x2", "int8")):
            met = times >= PEER_TIMES
            yield f"fast-x2 int8 against {name}_x2: faster", f"at least {PEER_TIMES:g}x", f"{times:.1f}x", met
            gain = fast.scores[FIRST].psnr - peer.scores[FIRST].psnr
            wanted = f"at least {PEER_GAIN:g} dB more"
            yield f"fast-x2 int8 against {name}_x2: {FIRST}", wanted, f"{gain:+.2f} dB", gain >= PEER_GAIN
    for name, least in EAGER.items():
        if times := found.faster(found.eager.get(name, []), name, "int8"):
            what = f"{name} int8 against the same network in eager PyTorch, fp32: faster"
            yield what, f"at least {least:g}x", f"{times:.1f}x", times >= least
    for entry in (e for e in found.entries if e.precision == "bf16" and MARK not in e.name):
        if times := found.faster(entry.rounds, entry.name, "int8"):
            what = f"{entry.name}: int8 faster than bf16"
            yield what, f"at least {INT8_TIMES:g}x", f"{times:.2f}x", times >= INT8_TIMES


def losses(found: Findings) -> list[tuple[Finding, float]]:
    """What each precision but fp32 loses on the first set, in dB."""
    exact = {e.name: e.scores[FIRST].psnr for e in found.entries if e.precision == "fp32" and FIRST in e.scores}
    others = (e for e in found.entries if e.ours and e.precision != "fp32" and FIRST in e.scores and e.name in exact)
    return [(e, exact[e.name] - e.scores[FIRST].psnr) for e in others]


def fidelity(found: Findings) -> Iterator[Goal]:
    """PSNR of each model and how large it is, and the greatest loss of each precision."""
    for name, wanted in TARGETS.items():
        entry = found.find(name, "fp32")
        if entry and entry.scores.keys() >= set(SETS):
            got = [round(entry.scores[each].psnr, 2) for each in SETS]
            met = all(a >= b for a, b in zip(got, wanted, strict=True))
            what = f"{name}: {' / '.join(SETS)}"
            yield what, f"{wanted[0]:.2f} / {wanted[1]:.2f} dB", f"{got[0]:.2f} / {got[1]:.2f}", met
    for name, limit in PARAMETERS.items():
        entry = found.find(name, "fp32")
        if entry and entry.parameters:
            count = entry.parameters
            yield f"{name}: parameters", f"at most {limit} K", f"{count / 1000:.1f} K", round(count / 1000) <= limit
    for precision, most in LOSS.items():
        lost = [(loss, entry.name) for entry, loss in losses(found) if entry.precision == precision]
        if lost:
            worst, name = max(lost)
            what = f"{precision}: greatest loss on {FIRST}"
            yield what, f"at most {most:.2f} dB", f"{worst:.3f} dB ({name})", worst <= most


def webcam(found: Findings) -> Iterator[Goal]:
    """How well the models for webcams clean, and that they do not flicker."""
    scores = {(each.name, each.precision): each.score.psnr for each in found.cleaning}
    for (name, precision), psnr in scores.items():
        clean = name.replace(MARK, "")
        for other in (("bicubic", ""), (clean, precision)) if MARK in name else ():
            if other in scores:
                gain = psnr - scores[other]
                what = f"{name} {precision} over {other[0]}, degraded {found.degraded}"
                yield what, f"at least {CLEANING:g} dB", f"{gain:+.2f} dB", gain >= CLEANING
    plain = {each.clip: each.deviation for each in found.flicker if each.name == "bicubic"}
    for each in found.flicker:
        if MARK in each.name:
            part = each.deviation / plain[each.clip]
            what = f"{each.name} {each.precision}: flicker on {each.clip}"
            yield what, "at most 1.00x bicubic", f"{part:.2f}x", part <= 1


def goals(found: Findings) -> list[Goal]:
    """All that was measured of them."""
    return [*speed(found), *fidelity(found), *webcam(found)]
