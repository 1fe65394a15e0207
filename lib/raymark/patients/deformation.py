"""Smooth maps of the patient's space, known analytically: forward, inverse, Jacobian.

All points are world mm (RAS), float64 (..., 3); a Jacobian is (..., 3, 3), row = output axis. A map
sends a point of the real patient to where that point lies in the virtual one.
"""

from dataclasses import dataclass

import numpy as np

STRAIGHT_MM, REACH_MM = 28.0, 70.0  # half widths: sections stay plane; sections stop turning
INVERSE_TOLERANCE_MM = 1e-8


@dataclass(frozen=True)
class Waves:
    """x -> x + Σ amplitude · cos(wavevector · x + phase): (n, 3) mm, (n, 3) rad/mm, (n,) rad."""

    amplitudes_mm: np.ndarray
    wavevectors: np.ndarray
    phases: np.ndarray

    def forward(self, points_mm: np.ndarray) -> np.ndarray:
        angles = points_mm @ self.wavevectors.T + self.phases
        return points_mm + np.cos(angles) @ self.amplitudes_mm

    def jacobian(self, points_mm: np.ndarray) -> np.ndarray:
        angles = points_mm @ self.wavevectors.T + self.phases
        products = self.amplitudes_mm[:, :, None] * self.wavevectors[:, None, :]
        gradient = -np.sin(angles) @ products.reshape(-1, 9)
        return np.eye(3) + gradient.reshape(*gradient.shape[:-1], 3, 3)


@dataclass(frozen=True)
class Scaling:
    """x -> centre + factors · (x − centre), both (3,)."""

    factors: np.ndarray
    centre_mm: np.ndarray

    def forward(self, points_mm: np.ndarray) -> np.ndarray:
        return self.centre_mm + self.factors * (points_mm - self.centre_mm)

    def jacobian(self, points_mm: np.ndarray) -> np.ndarray:
        return np.broadcast_to(np.diag(self.factors), (*points_mm.shape, 3))


@dataclass(frozen=True)
class Bend:
    """A sideways curve of the spine with a known Cobb angle; positive bows to the patient's right.

    The line x = `spine_x_mm` becomes a curve of the coronal plane whose slope dx/dz is
    −tan(cobb/2) · sin(π t / length) for |t| ≤ length/2, t being the height above the apex. So the
    tangents at the two end levels, where the curvature changes sign, enclose the Cobb angle (Cobb,
    "Outline for the study of scoliosis", 1948); over another half length on either side the slope
    returns to zero and the curve to its line. Heights on the line are kept.

    Sections across the spine stay plane, undistorted and perpendicular to the curve up to
    `STRAIGHT_MM` from it: vertebrae tilt along. Farther out the section levels off and from
    `REACH_MM` on everything is only shifted: full rotation of the trunk would fold it.
    """

    cobb_deg: float
    spine_x_mm: float
    apex_z_mm: float
    length_mm: float

    @staticmethod
    def largest_cobb_deg(length_mm: float) -> float:
        """The angle up to which a curve of this length squeezes no tissue by more than 60 %."""
        half_width_mm = (STRAIGHT_MM + REACH_MM) / 2  # as far as sections reach up or down
        return float(np.rad2deg(2 * np.arctan(0.6 * length_mm / (np.pi * half_width_mm))))

    def forward(self, points_mm: np.ndarray) -> np.ndarray:
        shift, slope, _ = self._curve(points_mm[..., 2])
        lever, _ = _lever(points_mm[..., 0] - self.spine_x_mm)
        tilt = np.arctan(slope)
        moved = np.array(points_mm, dtype=np.float64)
        moved[..., 0] += shift - lever * (1 - np.cos(tilt))
        moved[..., 2] -= lever * np.sin(tilt)
        return moved

    def jacobian(self, points_mm: np.ndarray) -> np.ndarray:
        _, slope, change = self._curve(points_mm[..., 2])
        lever, growth = _lever(points_mm[..., 0] - self.spine_x_mm)
        tilt, turning = np.arctan(slope), change / (1 + slope**2)
        sin, cos = np.sin(tilt), np.cos(tilt)
        jacobian = np.zeros((*points_mm.shape, 3))
        jacobian[..., 0, 0] = 1 - growth * (1 - cos)
        jacobian[..., 0, 2] = slope - lever * sin * turning
        jacobian[..., 1, 1] = 1
        jacobian[..., 2, 0] = -growth * sin
        jacobian[..., 2, 2] = 1 - lever * cos * turning
        return jacobian

    def _curve(self, z_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the curve's x − spine_x in mm, its slope dx/dz and the slope's derivative in 1/mm."""
        steepest, length = np.tan(np.deg2rad(self.cobb_deg) / 2), self.length_mm
        above = z_mm - self.apex_z_mm
        side = np.sign(above)
        inner = np.pi * np.minimum(np.abs(above), length / 2) / length
        beyond = np.clip(np.abs(above) - length / 2, 0, length / 2)
        outer = 2 * np.pi * beyond / length
        within = np.abs(above) <= length / 2
        bow = np.cos(inner) / np.pi + 1 / 4 - beyond / (2 * length) - np.sin(outer) / (4 * np.pi)
        slope = -side * np.where(within, np.sin(inner), (1 + np.cos(outer)) / 2)
        change = np.where(within, -np.cos(inner), np.sin(outer)) * np.pi / length
        return steepest * length * bow, steepest * slope, steepest * change


def _lever(across_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distance from the spine that turns with it, and its derivative.

    It is the distance itself up to STRAIGHT_MM, then grows ever more slowly, from REACH_MM on not.
    """
    fade = REACH_MM - STRAIGHT_MM
    beyond = np.clip(np.abs(across_mm) - STRAIGHT_MM, 0, fade)
    wave = np.pi * beyond / fade
    inner = np.minimum(np.abs(across_mm), STRAIGHT_MM)
    lever = inner + beyond / 2 + fade / (2 * np.pi) * np.sin(wave)
    return np.sign(across_mm) * lever, (1 + np.cos(wave)) / 2


@dataclass(frozen=True)
class Deformation:
    """Several maps, one after the other."""

    parts: tuple[Waves | Scaling | Bend, ...]

    def forward(self, points_mm: np.ndarray) -> np.ndarray:
        points_mm = np.asarray(points_mm, dtype=np.float64)
        for part in self.parts:
            points_mm = part.forward(points_mm)
        return points_mm

    def jacobian(self, points_mm: np.ndarray) -> np.ndarray:
        points_mm = np.asarray(points_mm, dtype=np.float64)
        jacobian = np.eye(3)
        for part in self.parts:
            jacobian = part.jacobian(points_mm) @ jacobian
            points_mm = part.forward(points_mm)
        return jacobian

    def inverse(self, points_mm: np.ndarray) -> np.ndarray:
        """Return the points that `forward` sends to `points_mm`, by Newton's method.

        A step that does not come closer is halved. Raises ArithmeticError where no point is found
        whose image is within `INVERSE_TOLERANCE_MM`, which a fold-free map does not meet.
        """
        targets = np.asarray(points_mm, dtype=np.float64)
        flat = targets.reshape(-1, 3)
        guess = 2 * flat - self.forward(flat)
        miss = self.forward(guess) - flat
        for _ in range(100):
            far = np.flatnonzero(np.abs(miss).max(axis=1, initial=0) > INVERSE_TOLERANCE_MM)
            if not len(far):
                return guess.reshape(targets.shape)
            step = np.linalg.solve(self.jacobian(guess[far]), miss[far, :, None])[..., 0]
            for _ in range(5):
                trial = guess[far] - step
                trial_miss = self.forward(trial) - flat[far]
                worse = np.linalg.norm(trial_miss, axis=1) > np.linalg.norm(miss[far], axis=1)
                if not worse.any():
                    break
                step[worse] /= 2
            guess[far], miss[far] = trial, trial_miss
        raise ArithmeticError(f"{len(far)} points have no preimage: the deformation folds")
