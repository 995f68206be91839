"""Evidence against a logged grasp: a held thing that was seen where the gripper of its robot cannot be."""

import math

from embodied.memory.queries.containment_history import last_logged
from embodied.memory.queries.map_frames import MapFrames
from embodied.memory.schema.event import Event
from embodied.memory.schema.kinds import EntitySeen, RobotRegistered, RobotReported

GRASP_M = 0.15  # Of errors of poses, and of grasps at the rim of a thing.
TOOL_MPS = 2.0  # A tool moves at most this fast between two reports of its robot.


def beyond_grasp(maps: MapFrames, sighting: Event | None, report: Event | None) -> bool:
    """Returns whether a thing was seen farther from a robot than the robot can hold it.

    The tool that the robot reported last may have moved since at `TOOL_MPS`, and its base at its top speed. The tool
    must be nearer to the thing than its longest edge and `GRASP_M`, the base nearer than these and the reach. A thing
    of unknown size is not judged, nor one that was seen in a map of unknown placing.

    Args:
        maps: the frames at the instant of the query, which also selects the registration of the robot
        sighting: the last sighting of the thing, None where it was not seen
        report: the last state of the robot before it, None where it has reported none
    """
    if sighting is None or report is None:
        return False
    seen, state = sighting.payload, report.payload
    if not isinstance(seen, EntitySeen) or not isinstance(state, RobotReported) or not seen.size_m:
        return False
    thing, base, tool = maps.seen(sighting), maps.seen(report), maps.tool(report)
    if thing is None or base is None:
        return False
    age_s = max(0.0, sighting.valid_time_s - report.valid_time_s)
    slack_m = max(seen.size_m) + GRASP_M
    if tool is not None:
        apart_m = math.dist(tool.position_m, thing.position_m)
        if apart_m > slack_m + TOOL_MPS * age_s:
            return True
    registered = last_logged(maps.log, maps.log.tables.names.find(report.robot), "robot_registered", maps.at)
    card = registered.payload if registered else None
    if not isinstance(card, RobotRegistered) or not card.reach_m:
        return False
    apart_m = math.dist(base.position_m, thing.position_m)
    return apart_m > card.reach_m + slack_m + card.speed_mps * age_s
