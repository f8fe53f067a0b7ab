"""Data: entities that declare their tables, queries compiled once, units of work that commit everything or nothing."""

from sqlalchemy import and_, any_, exists, func, not_, or_

from fortress.data.catalogue import Catalogue
from fortress.data.columns import (
    Blind,
    CreatedAt,
    Default,
    Generated,
    Key,
    Numeric,
    Owner,
    OwnKey,
    Personal,
    References,
    Sql,
    Text,
    Version,
)
from fortress.data.cursor import Cursors
from fortress.data.database import Database
from fortress.data.entity import Check, Entity, Index, Unique, desc
from fortress.data.expected import WHATEVER, Expected
from fortress.data.journal import AuditEntry, EventEntry
from fortress.data.paged import page
from fortress.data.pages import Page, PageQuery
from fortress.data.personal.datakeys import Erased
from fortress.data.personal.fences import blind
from fortress.data.query import change, delete, insert, many, one, param, revision, select, update
from fortress.data.reader import Reader
from fortress.data.refusals import Contended, DatabaseFault, Moved, UnitFailed
from fortress.data.repository import Repository
from fortress.data.retry import retrying
from fortress.data.savepoint import Savepoint
from fortress.data.unit import Isolation, Unit

__all__ = [
    "WHATEVER",
    "AuditEntry",
    "Blind",
    "Catalogue",
    "Check",
    "Contended",
    "CreatedAt",
    "Cursors",
    "Database",
    "DatabaseFault",
    "Default",
    "Entity",
    "Erased",
    "EventEntry",
    "Expected",
    "Generated",
    "Index",
    "Isolation",
    "Key",
    "Moved",
    "Numeric",
    "OwnKey",
    "Owner",
    "Page",
    "PageQuery",
    "Personal",
    "Reader",
    "References",
    "Repository",
    "Savepoint",
    "Sql",
    "Text",
    "Unique",
    "Unit",
    "UnitFailed",
    "Version",
    "and_",
    "any_",
    "blind",
    "change",
    "delete",
    "desc",
    "exists",
    "func",
    "insert",
    "many",
    "not_",
    "one",
    "or_",
    "page",
    "param",
    "retrying",
    "revision",
    "select",
    "update",
]
