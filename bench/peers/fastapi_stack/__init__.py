"""The usual FastAPI stack: SQLAlchemy async ORM, PyJWT, slowapi, structlog, prometheus-fastapi-instrumentator."""
