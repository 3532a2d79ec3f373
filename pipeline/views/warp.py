"""Small random rotations and changes of perspective, as homographies.

Coordinates are those of ``torch.nn.functional.grid_sample``: -1 to 1 from edge to edge.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.params import Views
from pipeline.views.rng import Column

_CORNERS = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])


def random_warps(
    numbers: NDArray[np.float64], recipe: Views, aspect_ratio: float = 1.0
) -> NDArray[np.float64]:
    """A homography per image, float64 [n, 3, 3], from output to input coordinates.

    ``numbers`` are indexed by ``Column``; ``aspect_ratio`` is the width of a view by its height.
    """
    angles = np.radians(recipe.rotate * (2 * numbers[:, Column.ROTATE] - 1))
    moves = recipe.perspective * (2 * numbers[:, Column.CORNERS : Column.SHADOW] - 1)
    perspective = homographies(moves.reshape(-1, 4, 2))
    warps: NDArray[np.float64] = rotations(angles, aspect_ratio) @ perspective
    return warps


def rotations(angles: NDArray[np.float64], aspect_ratio: float = 1.0) -> NDArray[np.float64]:
    """Rotations about the center by angles in radians, float64 [n], as [n, 3, 3].

    ``aspect_ratio`` is the unit of x by the unit of y, in pixels.
    """
    matrices = np.tile(np.eye(3), (len(angles), 1, 1))
    matrices[:, 0, 0] = matrices[:, 1, 1] = np.cos(angles)
    matrices[:, 0, 1] = -np.sin(angles) / aspect_ratio
    matrices[:, 1, 0] = np.sin(angles) * aspect_ratio
    return matrices


def homographies(moves: NDArray[np.float64]) -> NDArray[np.float64]:
    """The homographies, float64 [n, 3, 3], that move the four corners by ``moves`` [n, 4, 2].

    The corners are in the order top left, top right, bottom right, bottom left; a move is (x, y).
    """
    x, y = _CORNERS.T
    to_x, to_y = np.moveaxis(_CORNERS + moves, -1, 0)
    # (a x + b y + c) / (g x + h y + 1) = to_x, and the same with d, e, f for to_y: a linear system.
    system = np.zeros((len(moves), 2, 4, 8))
    system[:, 0, :, 0:3] = system[:, 1, :, 3:6] = np.stack([x, y, np.ones(4)], axis=1)
    for axis, target in enumerate((to_x, to_y)):
        system[:, axis, :, 6], system[:, axis, :, 7] = -x * target, -y * target
    targets = np.concatenate([to_x, to_y], axis=1)
    solved = np.linalg.solve(system.reshape(-1, 8, 8), targets[..., None])[..., 0]
    return np.concatenate([solved, np.ones((len(moves), 1))], axis=1).reshape(-1, 3, 3)
