"""Whether a registration is to be trusted: a yes or no, with its reason.

A right pose is found again from around, and the finest images look alike there; a wrong one looks alike
on coarse images at most, and other starts end elsewhere. The limits were set on rendered X-rays of known
poses, right and wrong, other ones than those of docs/measurements/registration.md, which tells how often the
verdict is right; they prefer a doubt to a wrong pose.
"""

from dataclasses import dataclass

from raymark.pose.search import Found

ALIKE = 0.6  # correlation of the edges at 3 mm
AGREED = 0.6  # share of restarts that end in the same place
TOLD = 0.15  # part of the X-ray's edges about which the CT says something
AREA_CM2 = 120.0  # of X-ray that has to be compared
PART_CM2 = 40.0  # of a bone by itself, beside the rest of the body


@dataclass(frozen=True)
class Verdict:
    """`trusted`, and the sentence that says why."""

    trusted: bool
    reason: str


def verdict(found: Found, least_cm2: float = AREA_CM2) -> Verdict:
    """Judge a registration by what was found, on at least so much of the X-ray."""
    numbers = (
        f"edges agree to {found.similarity:.2f} ({ALIKE} is enough), "
        f"{found.agreement:.0%} of the restarts ended there ({AGREED:.0%} is enough)"
    )
    if found.told < TOLD:
        lies = (
            "hardly lies in the image" if found.told or found.similarity else "is not in the image"
        )
        return Verdict(False, f"the CT {lies}: {found.told:.0%} of its edges can be compared")
    if found.area_cm2 < least_cm2:
        of = f"{found.area_cm2:.0f} cm² ({least_cm2:.0f} are enough)"
        return Verdict(False, f"too little of the X-ray can be compared with the CT: {of}")
    if found.similarity < ALIKE:
        return Verdict(False, f"X-ray and CT do not look alike enough: {numbers}")
    if found.agreement < AGREED:
        return Verdict(False, f"other starts end elsewhere: {numbers}")
    return Verdict(True, numbers)
