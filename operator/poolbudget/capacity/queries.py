"""What a PostgreSQL server is asked, from version 13 on. Any role may ask all of it.

Settings that a version or provider does not know count as 0. Walsenders, autovacuum and parallel
workers take no slot of max_connections since PostgreSQL 12 (postmaster.c, InitProcess).
"""

from __future__ import annotations

from sqlalchemy import text

LIMITS = text(
    """
    SELECT current_setting('max_connections')::int,
           current_setting('superuser_reserved_connections')::int,
           coalesce(nullif(current_setting('reserved_connections', true), ''), '0')::int,
           coalesce(nullif(current_setting('rds.rds_superuser_reserved_connections', true), ''), '0')::int,
           current_setting('server_version_num')::int,
           extract(
               epoch FROM coalesce(nullif(current_setting('idle_session_timeout', true), ''), '0')::interval
           )::int,
           (SELECT datconnlimit FROM pg_database WHERE datname = current_database()),
           pg_backend_pid(),
           pg_is_in_recovery(),
           pg_has_role(current_user, 'pg_read_all_stats', 'USAGE'),
           current_database()
    """
)

# -1 is no limit. A superuser has none either.
ROLE_LIMIT = text(
    "SELECT CASE WHEN rolsuper THEN -1 ELSE rolconnlimit END FROM pg_roles WHERE rolname = :role"
)

MOST_ROWS = 2000
MOST_TAGS = 5000

# The tags of pods that follow their shares (poolbudget.tag). application_name is shown to every role, state
# and backend_type to pg_read_all_stats and to the same role only. A backend that has just begun has no state
# yet; "disabled" means that track_activities is off.
TAGGED = text(
    """
    SELECT '', '', application_name, coalesce(host(client_addr), ''), count(*)::int, 0,
           (count(*) FILTER (WHERE state <> 'idle'))::int,
           (count(*) FILTER (WHERE state = 'disabled' OR backend_type IS NULL))::int
      FROM pg_stat_activity
     WHERE application_name LIKE '%pb:%' AND usename IS NOT NULL
       AND coalesce(backend_type, 'client backend') = 'client backend'
     GROUP BY 3, 4
     LIMIT 5000
    """
)

# The probe's own connection is among them.
# Without pg_read_all_stats backend_type is NULL for the backends of other roles: a filter on it alone
# would count too few. What is left over then may be a parallel worker, so this may count too many.
BACKENDS = text(
    """
    SELECT coalesce(usename, ''), coalesce(datname, ''), coalesce(application_name, ''),
           coalesce(host(client_addr), ''), count(*)::int,
           (count(*) FILTER (WHERE xact_start < now() - interval '1 minute'))::int,
           (count(*) FILTER (WHERE state <> 'idle'))::int,
           (count(*) FILTER (WHERE state = 'disabled' OR backend_type IS NULL))::int
      FROM pg_stat_activity
     WHERE usename IS NOT NULL AND datname IS NOT NULL
       AND coalesce(backend_type, 'client backend') = 'client backend'
     GROUP BY 1, 2, 3, 4
     ORDER BY 5 DESC
     LIMIT 2000
    """
)
