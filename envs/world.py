"""One PyBullet world with the ground and one robot: loads it, steps it, reads it in few calls."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pybullet_data

from plasticity_bench.envs.bullet import pybullet
from plasticity_bench.envs.robots import Robot
from plasticity_bench.envs.rounding import Vector, pairwise_sum
from plasticity_bench.envs.variables import Variables

FRAME_SKIP = 4  # substeps of the physics per step of the environment
DT = 0.0165 / 4 * FRAME_SKIP  # seconds per step, written as the published scene computes it
LOAD_FLAGS = (
    pybullet.URDF_USE_SELF_COLLISION
    | pybullet.URDF_USE_SELF_COLLISION_EXCLUDE_ALL_PARENTS
    | pybullet.URDF_GOOGLEY_UNDEFINED_COLORS
)
Quaternion = tuple[float, float, float, float]  # x, y, z, w
#: Mean x and y of all parts; position, orientation and velocity of the torso. Metres, m/s.
Torso = tuple[float, float, Vector, Quaternion, Vector]


class World:
    """The physics server of one environment.

    A call of PyBullet takes at least 1 to 2 microseconds. So each quantity is read once per step, for all
    joints or links together, and with positional arguments: keywords take another 0.3 microseconds.
    """

    def __init__(self, robot: Robot) -> None:
        self.client = client = pybullet.connect(pybullet.DIRECT)
        if client < 0:
            raise RuntimeError(
                "PyBullet serves about 1,000 environments per process: close() those not in use"
            )
        self._disconnect = weakref.finalize(self, pybullet.disconnect, client)  # also if nobody closes it
        self.variables = Variables()  # what the physics is set to
        self._saved = -1  # PyBullet's id of the state that every reset but the first starts from
        pybullet.resetSimulation(physicsClientId=client)
        pybullet.setPhysicsEngineParameter(deterministicOverlappingPairs=1, physicsClientId=client)
        pybullet.setGravity(0, 0, -self.variables.gravity, client)
        pybullet.setDefaultContactERP(0.9, client)
        pybullet.setPhysicsEngineParameter(
            fixedTimeStep=DT, numSolverIterations=5, numSubSteps=FRAME_SKIP, physicsClientId=client
        )
        data = Path(pybullet_data.getDataPath())
        (self.ground,) = pybullet.loadSDF(str(data / "plane_stadium.sdf"), physicsClientId=client)
        friction = self.variables.friction
        pybullet.changeDynamics(
            self.ground, -1, lateralFriction=friction, restitution=0.5, physicsClientId=client
        )
        pybullet.changeVisualShape(self.ground, -1, rgbaColor=[1, 1, 1, 0.8], physicsClientId=client)
        model = str(data / "mjcf" / robot.model)
        (self.body,) = pybullet.loadMJCF(model, flags=LOAD_FLAGS, physicsClientId=client)
        self._read_structure(robot)

    def _read_structure(self, robot: Robot) -> None:
        """Finds joints and links by name, and switches PyBullet's default motors off."""
        client, body = self.client, self.body
        links: dict[str, int] = {}
        self.joints: list[int] = []  # the joints with motors, in the order of actions and observations
        self.limits: list[tuple[float, float]] = []  # of each: its lowest angle and its range, radians
        self.coefficients: list[float] = []
        for joint in range(pybullet.getNumJoints(body, client)):
            info = pybullet.getJointInfo(body, joint, client)
            name = info[1].decode()
            links[info[12].decode()] = joint
            pybullet.setJointMotorControl2(
                *(body, joint, pybullet.POSITION_CONTROL),
                targetPosition=0,
                targetVelocity=0,
                positionGain=0.1,
                velocityGain=0.1,
                force=0,
                physicsClientId=client,
            )
            if not name.startswith(("ignore", "jointfix")):
                self.joints.append(joint)
                self.limits.append((info[8], info[9] - info[8]))
                self.coefficients.append(robot.coefficients.get(name, 100.0))
        self.feet = {links[foot]: i for i, foot in enumerate(robot.feet)}
        torso = links.get("torso")
        self._torso_is_base = torso is None
        # The published mean of all parts has the torso in the second place, and rounding follows the order.
        others = [link for link in links.values() if link != torso]
        self._links = others if torso is None else [others[0], torso, *others[1:]]
        self._ground_xy = pybullet.getBasePositionAndOrientation(self.ground, client)[0][:2]

    def reset(self, angles: Sequence[float], variables: Variables) -> None:
        """Puts the robot at its start with these joint angles (radians), at rest."""
        client = self.client
        if self._saved >= 0:
            pybullet.restoreState(self._saved, physicsClientId=client)
        self._set(variables)
        for joint, angle in zip(self.joints, angles, strict=True):
            pybullet.resetJointState(self.body, joint, angle, 0, client)
        if self._saved < 0:
            self._saved = pybullet.saveState(client)

    def _set(self, new: Variables) -> None:
        """Changes what differs, so that default values have no effect at all."""
        old, client = self.variables, self.client
        if new.gravity != old.gravity:
            pybullet.setGravity(0, 0, -new.gravity, client)
        if new.friction != old.friction:
            pybullet.changeDynamics(self.ground, -1, lateralFriction=new.friction, physicsClientId=client)
        if new.joint_damping != old.joint_damping:
            for joint in self.joints:
                pybullet.changeDynamics(
                    self.body, joint, jointDamping=new.joint_damping, physicsClientId=client
                )
        self.variables = new

    def step(self, torques: Sequence[float]) -> None:
        """Advances by ``DT`` seconds with these torques (N m) at the joints."""
        pybullet.setJointMotorControlArray(
            self.body,
            self.joints,
            pybullet.TORQUE_CONTROL,
            forces=torques,
            physicsClientId=self.client,
        )
        pybullet.stepSimulation(self.client)

    def joint_states(self) -> tuple[tuple[float, float, object, object], ...]:
        """(angle, velocity, ..., ...) of each joint with a motor: radians, rad/s."""
        return pybullet.getJointStates(self.body, self.joints, self.client)

    def torso(self, with_ground: bool = True) -> Torso:
        """Position of the robot; the ground counts as one of its parts."""
        body, client = self.body, self.client
        if self._torso_is_base:
            links = pybullet.getLinkStates(body, self._links, 0, 0, client)
            position, orientation = pybullet.getBasePositionAndOrientation(body, client)
            velocity = pybullet.getBaseVelocity(body, client)[0]
            positions = [link[0] for link in links]
            positions.insert(1, position)
        else:
            links = pybullet.getLinkStates(body, self._links, 1, 0, client)
            torso = links[1]
            position, orientation, velocity = torso[0], torso[1], torso[6]
            positions = [link[0] for link in links]
        x, y = [p[0] for p in positions], [p[1] for p in positions]
        if with_ground:
            x.append(self._ground_xy[0])
            y.append(self._ground_xy[1])
        return pairwise_sum(x) / len(x), pairwise_sum(y) / len(y), position, orientation, velocity

    def contacts(self) -> list[float]:
        """1.0 for each foot that touches the ground, 0.0 for the others."""
        touching = [0.0] * len(self.feet)
        for point in pybullet.getContactPoints(self.body, self.ground, -2, -1, self.client):
            foot = self.feet.get(point[3])
            if foot is not None:
                touching[foot] = 1.0
        return touching

    def picture(self, width: int, height: int) -> np.ndarray:
        """(height, width, 3) uint8: the robot from 3 m away, 30 degrees above."""
        client = self.client
        target = self.torso()[2]
        view = pybullet.computeViewMatrixFromYawPitchRoll(target, 3, 0, -30, 0, 2)
        lens = pybullet.computeProjectionMatrixFOV(60, width / height, 0.1, 100.0)
        pixels = pybullet.getCameraImage(
            *(width, height, view, lens), renderer=pybullet.ER_TINY_RENDERER, physicsClientId=client
        )[2]
        return np.array(pixels, np.uint8).reshape(height, width, 4)[:, :, :3].copy()

    def close(self) -> None:
        """Disconnects, once: PyBullet gives the number of this client to the next world."""
        self._disconnect()
