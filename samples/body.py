# ruff: noqa: RUF005  (arrays are added here, not lists joined)
"""Where the joints of one drawn person are, and how thick the limbs: from a build and a pose.

Reads and writes nothing. Unit: the person's standing height; x to the right, y down, origin on the ground below the
pelvis. "left" and "right" (index 0 and 1) are the picture's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from samples.canvas import Points, smooth, tube

Rng = np.random.Generator


@dataclass(frozen=True)
class Build:
    """Proportions of a person as factors around 1."""

    head: float
    shoulders: float
    waist: float
    hips: float
    limbs: float
    legs: float
    chest: float

    @staticmethod
    def draw(rng: Rng) -> Build:
        """Draw a build: slim to broad, long-legged to short-legged."""
        bulk = float(rng.triangular(0.86, 1.0, 1.34))
        return Build(
            head=float(rng.uniform(0.97, 1.17)),
            shoulders=bulk * float(rng.uniform(0.92, 1.12)),
            waist=bulk * float(rng.uniform(0.88, 1.16)),
            hips=bulk * float(rng.uniform(0.92, 1.14)),
            limbs=bulk * float(rng.uniform(0.92, 1.08)),
            legs=float(rng.uniform(0.94, 1.05)),
            chest=float(rng.uniform(0.0, 1.0)),
        )


@dataclass(frozen=True)
class Pose:
    """Angles in radians; limbs count from straight down, outwards positive."""

    turn: float  # where the body faces: 0 the viewer, positive the picture's right
    back: bool  # seen from behind
    lean: float  # the shoulders' shift to the right, in heights
    tilt: float  # right shoulder lower than left, in heights
    sway: float  # the pelvis' shift to the right
    arms: tuple[tuple[float, float], tuple[float, float]]  # (upper arm, forearm) left, right
    arms_in_front: tuple[bool, bool]
    legs: tuple[tuple[float, float], tuple[float, float]]  # (thigh, shin) left, right
    head_tilt: float


_ARMS = {  # name: (upper arm, forearm, forearm in front of the body), how often
    "down": ((0.16, 0.08, False), 5),
    "loose": ((0.28, 0.12, False), 4),
    "bent": ((0.30, -0.35, False), 2),
    "hip": ((0.78, -0.95, False), 3),
    "front": ((0.22, -1.05, True), 2),
    "chest": ((0.30, -2.15, True), 1),
    "pocket": ((0.36, -0.30, False), 2),
    "wave": ((1.85, 2.85, False), 1),
    "up": ((2.55, 2.85, False), 1),
    "aside": ((1.05, 1.0, False), 1),
    "head": ((2.05, 3.75, False), 1),
}
_LEGS = {  # name: (left thigh, left shin, right thigh, right shin), how often
    "stand": ((0.04, 0.03, 0.04, 0.03), 5),
    "wide": ((0.15, 0.13, 0.15, 0.13), 3),
    "left rests": ((0.15, -0.02, 0.02, 0.02), 3),
    "right rests": ((0.02, 0.02, 0.15, -0.02), 3),
    "step left": ((0.20, 0.05, 0.12, 0.20), 2),
    "step right": ((0.12, 0.20, 0.20, 0.05), 2),
    "crossed": ((-0.07, -0.10, 0.02, 0.01), 1),
}
_WALK = (0.34, 0.24, -0.12, -0.42)  # forward thigh, its shin, rear thigh, its shin: angles in the walking direction


def draw_pose(rng: Rng) -> Pose:
    """Draw a pose: standing, walking, turned, waving, hands on the hips."""
    turn = float(np.clip(rng.normal(0, 0.55), -1.2, 1.2))
    legs = _weighted(rng, _LEGS)
    jitter = rng.normal(0, 0.03, 4)
    angles = [a + float(j) for a, j in zip(legs, jitter, strict=True)]
    if abs(turn) > 0.5 and rng.random() < 0.6:
        forward = 1 if turn > 0 else -1
        step = float(rng.uniform(0.6, 1.15))
        walk = [forward * step * a for a in _WALK]
        if rng.random() < 0.5:
            walk = walk[2:] + walk[:2]
        angles = [-walk[0], -walk[1], walk[2], walk[3]]
    arms = [_weighted(rng, _ARMS) for _ in range(2)]
    if rng.random() < 0.35:
        arms[1] = arms[0]
    if sum(arm[2] for arm in arms) == 2:
        arms[int(rng.integers(2))] = _ARMS["down"][0]
    wobble = rng.normal(0, 0.07, 4)
    return Pose(
        turn=turn,
        back=bool(rng.random() < 0.07),
        lean=float(rng.normal(0, 0.016)),
        tilt=float(rng.normal(0, 0.008)),
        sway=float(rng.normal(0, 0.010)),
        arms=(
            (arms[0][0] + float(wobble[0]), arms[0][1] + float(wobble[1])),
            (arms[1][0] + float(wobble[2]), arms[1][1] + float(wobble[3])),
        ),
        arms_in_front=(bool(arms[0][2]), bool(arms[1][2])),
        legs=((angles[0], angles[1]), (angles[2], angles[3])),
        head_tilt=float(rng.normal(0, 0.07)),
    )


def _weighted(rng: Rng, table: Mapping[str, tuple[tuple[float, ...], int]]) -> tuple[float, ...]:
    names, weights = list(table), np.array([weight for _, weight in table.values()], float)
    return table[names[int(rng.choice(len(names), p=weights / weights.sum()))]][0]


class Body:
    """The joints of a posed person and the outlines that clothes are cut from."""

    def __init__(self, build: Build, pose: Pose) -> None:
        self.build, self.pose = build, pose
        self.narrow = 0.62 + 0.38 * np.cos(pose.turn)
        leg = 0.50 * build.legs
        thigh, shin = 0.52 * (leg - 0.04), 0.48 * (leg - 0.04)
        self.legs: list[Points] = []
        for side in range(2):
            hip = np.array([_sign(side) * 0.046 * build.hips * self.narrow, 0.0])
            a, b = pose.legs[side]
            knee = hip + thigh * _down(side, a)
            self.legs.append(np.array([hip, knee, knee + shin * _down(side, b)]))
        lift = -0.035 - max(limb[2, 1] for limb in self.legs)
        pelvis = np.array([pose.sway, lift])
        self.legs = [limb + pelvis for limb in self.legs]
        self.pelvis = pelvis
        self.shoulder_y = pelvis[1] - 0.315
        self.chest = np.array([pose.sway + pose.lean, self.shoulder_y])
        self.waist = (self.pelvis + self.chest) / 2 + [pose.sway * 0.4, 0.035]
        self.shoulder_half = 0.098 * build.shoulders * self.narrow
        self.waist_half = 0.066 * build.waist * (0.75 + 0.25 * self.narrow)
        self.hip_half = 0.088 * build.hips * (0.72 + 0.28 * self.narrow)
        self.head_ry = 0.064 * build.head
        self.head_rx = 0.049 * build.head
        self.neck = self.chest + [0, -0.012]
        self.head = self.chest + [0.45 * pose.lean + 0.012 * np.sin(pose.turn), -0.052 - 0.92 * self.head_ry]
        self.arms: list[Points] = []
        for side in range(2):
            tilt = _sign(side) * pose.tilt
            start = self.chest + [_sign(side) * 0.86 * self.shoulder_half, 0.024 + tilt]
            a, b = pose.arms[side]
            elbow = start + 0.162 * _down(side, a)
            self.arms.append(np.array([start, elbow, elbow + 0.142 * _down(side, b)]))

    @property
    def far(self) -> int:
        """The side (0 left, 1 right) that is turned away from the viewer."""
        return 1 if self.pose.turn > 0 else 0

    def arm_radii(self) -> list[float]:
        """Radii at shoulder, upper arm, elbow, forearm, wrist."""
        return [r * self.build.limbs for r in (0.0265, 0.0255, 0.0215, 0.0205, 0.0155)]

    def leg_radii(self) -> list[float]:
        """Radii at hip, thigh, knee, calf, ankle."""
        return [r * self.build.limbs for r in (0.050, 0.044, 0.033, 0.033, 0.019)]

    def leg_at(self, side: int, fraction: float) -> tuple[Points, float]:
        """Return centre and radius of a leg at `fraction` of its length (0 hip, 1 ankle)."""
        line, grid = self.legs[side], [0.0, 0.52, 1.0]
        centre = np.array([np.interp(fraction, grid, line[:, 0]), np.interp(fraction, grid, line[:, 1])])
        return centre, float(np.interp(fraction, [0, 0.25, 0.52, 0.72, 1.0], self.leg_radii()))

    def along(self, line: Points, fraction: float) -> Points:
        """Return the first `fraction` (0..1) of a three-point limb as a centre line of five points."""
        grid = np.linspace(0, fraction, 5)
        mid = 0.52
        return np.column_stack([np.interp(grid, [0, mid, 1], line[:, k]) for k in range(2)])

    def torso(self, *, ease: float = 0.0, bottom: float = 0.0, shoulder_drop: float = 0.0) -> Points:
        """Return the torso's outline from the shoulders to `bottom` heights below the pelvis, widened by `ease`."""
        chest, waist, hips = self.chest, self.waist, self.pelvis
        tilt = np.array([0, self.pose.tilt])
        bust = (0.004 + 0.010 * self.build.chest) * (0.4 + 0.6 * self.narrow)
        right = [
            chest + [0.32 * self.shoulder_half, -0.008] + 0.3 * tilt,
            chest + [0.98 * self.shoulder_half + 0.4 * ease, 0.006 + shoulder_drop] + tilt,
            chest + [0.95 * self.shoulder_half + 0.7 * ease, 0.055] + 0.7 * tilt,
            0.55 * chest + 0.45 * waist + [0.5 * (self.shoulder_half + self.waist_half) + bust + ease, -0.015],
            waist + [self.waist_half + ease, 0],
            0.45 * waist + 0.55 * hips + [0.42 * self.waist_half + 0.58 * self.hip_half + ease, 0],
            hips + [self.hip_half + ease, bottom],
        ]
        left = [
            chest + [-0.32 * self.shoulder_half, -0.008] - 0.3 * tilt,
            chest + [-0.98 * self.shoulder_half - 0.4 * ease, 0.006 + shoulder_drop] - tilt,
            chest + [-0.95 * self.shoulder_half - 0.7 * ease, 0.055] - 0.7 * tilt,
            0.55 * chest + 0.45 * waist + [-0.5 * (self.shoulder_half + self.waist_half) - bust - ease, -0.015],
            waist + [-self.waist_half - ease, 0],
            0.45 * waist + 0.55 * hips + [-0.42 * self.waist_half - 0.58 * self.hip_half - ease, 0],
            hips + [-self.hip_half - ease, bottom],
        ]
        hem = hips + [0, bottom + 0.006]
        return np.vstack([smooth(np.array(right), closed=False), hem, smooth(np.array(left), closed=False)[::-1]])

    def limb(self, line: Points, radii: list[float], fraction: float, *, flat_end: bool) -> Points:
        """Return the outline of the first `fraction` of a limb (of a sleeve, of a trouser leg)."""
        return tube(self.along(line, fraction), radii, round_end=not flat_end)


def _sign(side: int) -> int:
    return -1 if side == 0 else 1


def _down(side: int, angle: float) -> Points:
    return np.array([_sign(side) * np.sin(angle), np.cos(angle)])
