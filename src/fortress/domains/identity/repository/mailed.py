"""Questions about what was sent by mail to be proved."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from fortress.data import Repository, change, delete, func, one, or_, param, select, update
from fortress.domains.identity.models.mailed import EmailChange, MailedToken

_now = param("now", datetime)
_old_tokens = select(MailedToken.c.id).where(MailedToken.c.expires_at < param("before")).limit(1000)
_old_changes = select(EmailChange.c.id).where(EmailChange.c.expires_at < param("before")).limit(1000)


class MailedTokenRepository(Repository[MailedToken]):
    """Tokens that wait to be used."""

    good = one(
        select(MailedToken).where(
            MailedToken.c.digest == param("digest"), MailedToken.c.purpose == param("purpose"), MailedToken.c.expires_at > _now
        )
    )
    # Taking it is using it: of any number at once, one finds it.
    take = change(
        delete(MailedToken)
        .where(MailedToken.c.digest == param("digest"), MailedToken.c.purpose == param("purpose"), MailedToken.c.expires_at > _now)
        .returning(*MailedToken.c)
    )
    waiting = one(
        select(func.count())
        .select_from(MailedToken.table)
        .where(MailedToken.c.user_id == param("user"), MailedToken.c.purpose == param("purpose"), MailedToken.c.expires_at > _now),
        into=int,
    )
    forget_of = change(delete(MailedToken).where(MailedToken.c.user_id == param("user"), MailedToken.c.purpose == param("purpose")))
    forget = change(delete(MailedToken).where(MailedToken.c.id.in_(_old_tokens)))
    erase = change(delete(MailedToken).where(MailedToken.c.user_id == param("person")))


class EmailChangeRepository(Repository[EmailChange]):
    """Addresses that shall replace others."""

    # Both ends at once wait for each other here, and the second sees what the first has proved.
    prove_old = change(
        update(EmailChange)
        .where(EmailChange.c.old_digest == param("digest"), EmailChange.c.old_proved_at.is_(None), EmailChange.c.expires_at > _now)
        .values(old_proved_at=_now)
        .returning(*EmailChange.c)
    )
    prove_new = change(
        update(EmailChange)
        .where(EmailChange.c.new_digest == param("digest"), EmailChange.c.new_proved_at.is_(None), EmailChange.c.expires_at > _now)
        .values(new_proved_at=_now)
        .returning(*EmailChange.c)
    )
    give_new = change(update(EmailChange).where(EmailChange.c.id == param("id")).values(new_digest=param("digest")))
    stop = change(
        delete(EmailChange)
        .where(
            or_(EmailChange.c.old_digest == param("digest"), EmailChange.c.new_digest == param("digest")), EmailChange.c.expires_at > _now
        )
        .returning(EmailChange.c.user_id),
        into=UUID,
    )
    of_person = one(select(EmailChange).where(EmailChange.c.user_id == param("person")))
    forget_of = change(delete(EmailChange).where(EmailChange.c.user_id == param("user")))
    forget = change(delete(EmailChange).where(EmailChange.c.id.in_(_old_changes)))
    erase = change(delete(EmailChange).where(EmailChange.c.user_id == param("person")))
