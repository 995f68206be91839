"""The memory bank of a site: one log of events, and projections of it about space, time and robots.

`open_bank` gives the process that owns the file a `Bank`; other processes use a `BankClient` through a `BankService`,
or read what the file holds at one instant with `open_read_only`.
All other packages import from here, from `embodied.memory.perception`, and from the links between processes, which need
libraries of their own: `embodied.memory.service.ray_service` (Ray), `socket_link` and `socket_server` beside it
(websockets).

    schema       events, their kinds, queries and answers; checks, encoding and formatting
    storage      the durable log in SQLite, its integrity, snapshots and tombstones
    projections  tables derived from the log
    queries      answers from the log and the projections
    service      the bank itself, its service for many clients, outbox and leases
    retention    removal of events that are no longer needed
    perception   from depth images to sightings and absences
"""

from embodied.memory.projections.inverted_index import SITE_TIMELINE, indexed_names
from embodied.memory.queries import validation
from embodied.memory.queries.ranking import Ranked, Ranking, Situation, rank, recall_ranked
from embodied.memory.queries.read_call import ReadCall
from embodied.memory.queries.reads import QUERIES, Reads, RemoteReads
from embodied.memory.queries.view import BankView
from embodied.memory.retention.retention import Retention, RetentionConfig, RetentionResult, retain
from embodied.memory.schema.checks import decode_event
from embodied.memory.schema.codec import decode_events, encode_events
from embodied.memory.schema.event import SCHEMA_VERSION, Event, LogPosition
from embodied.memory.schema.formatting import describe
from embodied.memory.schema.kind_table import KINDS, Kind, Removal
from embodied.memory.schema.kinds import (
    CONTAINMENT,
    PLACE_KINDS,
    PREDICATES,
    AbsenceSeen,
    EntityMerged,
    EntitySeen,
    EpisodeBegun,
    EpisodeEnded,
    Forgotten,
    Interaction,
    LeaseGranted,
    MapPlaced,
    MomentStored,
    Observed,
    Payload,
    PlaceDefined,
    Polygon,
    RelationEnded,
    RelationSet,
    Reopened,
    RobotRegistered,
    RobotReported,
    SkillEnded,
    SkillSpec,
    SubtaskEnded,
    ToolCalled,
    Watermark,
    Withdrawn,
)
from embodied.memory.schema.payload_texts import Shown
from embodied.memory.schema.places import Place
from embodied.memory.schema.query import EventFilter, LocationBelief, Order, Query, Recalled, SkillCandidate
from embodied.memory.schema.reported_status import ReportedStatus
from embodied.memory.service.bank import Bank, Subscription, open_bank, require_openable
from embodied.memory.service.bank_status import BankStatus, LeaseStatus, SnapshotStatus, WriterStatus
from embodied.memory.service.client import BankClient, RemoteSubscription
from embodied.memory.service.commit_queue import Result
from embodied.memory.service.credentials import (
    ClientRights,
    Credentials,
    Role,
    add_credential,
    read_credentials,
    remove_credential,
)
from embodied.memory.service.laid_aside import read_laid_aside
from embodied.memory.service.leases import Lease, LeaseOffice
from embodied.memory.service.outbox import Outbox
from embodied.memory.service.outbox_config import OutboxConfig
from embodied.memory.service.outbox_file import is_outbox
from embodied.memory.service.outbox_status import OutboxStatus, outbox_status
from embodied.memory.service.owner_process import prepare_owner_process
from embodied.memory.service.parcels import LaidAside
from embodied.memory.service.past import close_past, reopen_past
from embodied.memory.service.read_only import ReadOnlyBank, open_read_only
from embodied.memory.service.service import BankService, Link, UnreachableError
from embodied.memory.service.status_metrics import metrics_text
from embodied.memory.service.take_over import opened_when_free
from embodied.memory.service.withdrawing import withdraw
from embodied.memory.storage.backup import back_up, restore
from embodied.memory.storage.clock import (
    ClockReading,
    SimulatedClock,
    SiteClock,
    StoppedClock,
    WallClock,
    require_resolution,
)
from embodied.memory.storage.integrity import Damage, inspect_file, rescue
from embodied.memory.storage.lock import OwnedError, Ownership
from embodied.memory.storage.url import SCHEME, bank_path

__all__ = [
    "CONTAINMENT",
    "KINDS",
    "PLACE_KINDS",
    "PREDICATES",
    "QUERIES",
    "SCHEMA_VERSION",
    "SCHEME",
    "SITE_TIMELINE",
    "AbsenceSeen",
    "Bank",
    "BankClient",
    "BankService",
    "BankStatus",
    "BankView",
    "ClientRights",
    "ClockReading",
    "Credentials",
    "Damage",
    "EntityMerged",
    "EntitySeen",
    "EpisodeBegun",
    "EpisodeEnded",
    "Event",
    "EventFilter",
    "Forgotten",
    "Interaction",
    "Kind",
    "LaidAside",
    "Lease",
    "LeaseGranted",
    "LeaseOffice",
    "LeaseStatus",
    "Link",
    "LocationBelief",
    "LogPosition",
    "MapPlaced",
    "MomentStored",
    "Observed",
    "Order",
    "Outbox",
    "OutboxConfig",
    "OutboxStatus",
    "OwnedError",
    "Ownership",
    "Payload",
    "Place",
    "PlaceDefined",
    "Polygon",
    "Query",
    "Ranked",
    "Ranking",
    "ReadCall",
    "ReadOnlyBank",
    "Reads",
    "Recalled",
    "RelationEnded",
    "RelationSet",
    "RemoteReads",
    "RemoteSubscription",
    "Removal",
    "Reopened",
    "ReportedStatus",
    "Result",
    "Retention",
    "RetentionConfig",
    "RetentionResult",
    "RobotRegistered",
    "RobotReported",
    "Role",
    "Shown",
    "SimulatedClock",
    "SiteClock",
    "Situation",
    "SkillCandidate",
    "SkillEnded",
    "SkillSpec",
    "SnapshotStatus",
    "StoppedClock",
    "Subscription",
    "SubtaskEnded",
    "ToolCalled",
    "UnreachableError",
    "WallClock",
    "Watermark",
    "Withdrawn",
    "WriterStatus",
    "add_credential",
    "back_up",
    "bank_path",
    "close_past",
    "decode_event",
    "decode_events",
    "describe",
    "encode_events",
    "indexed_names",
    "inspect_file",
    "is_outbox",
    "metrics_text",
    "open_bank",
    "open_read_only",
    "opened_when_free",
    "outbox_status",
    "prepare_owner_process",
    "rank",
    "read_credentials",
    "read_laid_aside",
    "recall_ranked",
    "remove_credential",
    "reopen_past",
    "require_openable",
    "require_resolution",
    "rescue",
    "restore",
    "retain",
    "validation",
    "withdraw",
]
