"""
The functions by which the tables are changed; see :mod:`.schema`.

Who changes something locks rows in this order: accounts by the names of their users, then a place,
then what is in it. Nobody waits in a circle, and a number that can be seen is larger than all that
could be seen before: it is drawn under the lock of its place, which is held until the commit.
"""

from __future__ import annotations

FUNCTIONS = (
    """
    CREATE FUNCTION seconds() RETURNS bigint LANGUAGE sql VOLATILE AS $$
        SELECT floor(extract(epoch FROM clock_timestamp()))::bigint
    $$
    """,
    """
    CREATE FUNCTION lock_account(of_user text) RETURNS accounts LANGUAGE plpgsql AS $$
    DECLARE
        owner accounts;
    BEGIN
        SELECT * INTO owner FROM accounts WHERE user_name = of_user FOR UPDATE;
        IF NOT FOUND THEN
            INSERT INTO accounts (user_name) VALUES (of_user) ON CONFLICT DO NOTHING;
            SELECT * INTO owner FROM accounts WHERE user_name = of_user FOR UPDATE;
        END IF;
        RETURN owner;
    END
    $$
    """,
    # There is room for what needs no more than there was, also if the quota has been lowered.
    """
    CREATE FUNCTION has_room(owner accounts, more bigint) RETURNS boolean LANGUAGE sql AS $$
        SELECT more <= 0 OR more <= coalesce(
            (SELECT size FROM quotas
                WHERE user_name IN (owner.user_name, '') ORDER BY user_name DESC LIMIT 1),
            9223372036854775807
        ) - owner.used - owner.reserved
    $$
    """,
    # Of each blob: '' if it can be seen now, or why not. A key of '' is none.
    """
    CREATE FUNCTION publish(
        of_user text, in_namespace text, ids text[], sizes bigint[], tags bytea[], keys text[],
        digests bytea[], bodies bytea[], flag_lists text[]
    ) RETURNS text[] LANGUAGE plpgsql AS $$
    DECLARE
        owner accounts := lock_account(of_user);
        home places;
        outcomes text[] := '{}';
        outcome text;
        held bigint;
        is_reused boolean;
    BEGIN
        SELECT * INTO home FROM places
            WHERE account = owner.account AND namespace = in_namespace FOR UPDATE;
        FOR n IN 1 .. cardinality(ids) LOOP
            held := 0;
            IF keys[n] <> '' THEN
                SELECT size INTO held FROM uploads
                    WHERE key = keys[n] AND account = owner.account;
            END IF;
            outcome := CASE
                WHEN EXISTS (SELECT FROM blobs WHERE place = home.place AND id = ids[n])
                    THEN 'taken'
                WHEN held IS NULL THEN 'late'
                WHEN NOT has_room(owner, sizes[n] - held) THEN 'full'
                ELSE ''
            END;
            IF outcome = '' THEN
                IF home.place IS NULL THEN
                    INSERT INTO places (account, namespace) VALUES (owner.account, in_namespace)
                        RETURNING * INTO home;
                END IF;
                DELETE FROM tombstones
                    WHERE home.deleted > 0 AND place = home.place AND id = ids[n];
                is_reused := FOUND;
                home.blobs := home.blobs + 1;
                home.number := home.number + 1;
                home.latest := greatest(
                    home.latest + 1,
                    (extract(epoch FROM clock_timestamp()) * 1000000)::bigint * 1000
                );
                owner.used := owner.used + sizes[n];
                INSERT INTO blobs VALUES (
                    home.place, ids[n], home.number, home.latest, sizes[n], tags[n],
                    nullif(keys[n], ''), digests[n], flag_lists[n], is_reused, bodies[n]
                );
            END IF;
            IF keys[n] <> '' AND held IS NOT NULL THEN
                DELETE FROM uploads WHERE key = keys[n];
                owner.reserved := owner.reserved - held;
                IF outcome <> '' THEN
                    INSERT INTO garbage VALUES (keys[n], 0, true);
                END IF;
            END IF;
            outcomes := outcomes || outcome;
        END LOOP;
        UPDATE places SET blobs = home.blobs, number = home.number, latest = home.latest
            WHERE place = home.place;
        UPDATE accounts SET used = owner.used, reserved = owner.reserved
            WHERE account = owner.account;
        RETURN outcomes;
    END
    $$
    """,
    """
    CREATE FUNCTION delete_blob(of_user text, in_namespace text, blob_id text, linger bigint)
    RETURNS text[] LANGUAGE plpgsql AS $$
    DECLARE
        owner accounts := lock_account(of_user);
        home places;
        gone blobs;
    BEGIN
        SELECT * INTO home FROM places
            WHERE account = owner.account AND namespace = in_namespace FOR UPDATE;
        DELETE FROM blobs WHERE place = home.place AND id = blob_id RETURNING * INTO gone;
        IF NOT FOUND THEN
            RETURN '{missing}';
        END IF;
        home.latest := greatest(
            home.latest + 1, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint * 1000
        );
        INSERT INTO tombstones
            VALUES (home.place, blob_id, home.number + 1, home.latest, gone.tag);
        IF gone.key IS NOT NULL THEN
            INSERT INTO garbage VALUES (gone.key, seconds() + linger, false);
        END IF;
        -- One whose id had been deleted before was counted as such already.
        UPDATE places SET blobs = blobs - 1, number = number + 1, latest = home.latest,
            deleted = deleted + (NOT gone.reused)::int WHERE place = home.place;
        UPDATE accounts SET used = used - gone.size WHERE account = owner.account;
        RETURN '{""}';
    END
    $$
    """,
    """
    CREATE FUNCTION set_flags(of_user text, in_namespace text, blob_id text, new_flags text)
    RETURNS text[] LANGUAGE plpgsql AS $$
    DECLARE
        owner accounts := lock_account(of_user);
        home places;
    BEGIN
        SELECT * INTO home FROM places
            WHERE account = owner.account AND namespace = in_namespace FOR UPDATE;
        UPDATE blobs SET flags = new_flags, number = home.number + 1
            WHERE place = home.place AND id = blob_id;
        IF NOT FOUND THEN
            RETURN '{missing}';
        END IF;
        UPDATE places SET number = number + 1 WHERE place = home.place;
        RETURN '{""}';
    END
    $$
    """,
    """
    CREATE FUNCTION reserve(
        of_user text, in_namespace text, blob_id text, new_key text, new_size bigint, term bigint
    ) RETURNS text LANGUAGE plpgsql AS $$
    DECLARE
        owner accounts := lock_account(of_user);
    BEGIN
        IF EXISTS (
            SELECT FROM blobs JOIN places USING (place)
                WHERE account = owner.account AND namespace = in_namespace AND id = blob_id
        ) THEN
            RETURN 'taken';
        END IF;
        IF NOT has_room(owner, new_size) THEN
            RETURN 'full';
        END IF;
        INSERT INTO uploads VALUES (new_key, owner.account, new_size, seconds() + term);
        UPDATE accounts SET reserved = reserved + new_size WHERE account = owner.account;
        RETURN '';
    END
    $$
    """,
    # Locks the account of an upload, unless the upload has ended.
    """
    CREATE FUNCTION lock_upload(of_key text) RETURNS uploads LANGUAGE plpgsql AS $$
    DECLARE
        upload uploads;
    BEGIN
        PERFORM FROM accounts JOIN uploads USING (account)
            WHERE key = of_key FOR UPDATE OF accounts;
        SELECT * INTO upload FROM uploads WHERE key = of_key FOR UPDATE;
        RETURN upload;
    END
    $$
    """,
    """
    CREATE FUNCTION extend(of_key text, new_size bigint, term bigint)
    RETURNS text LANGUAGE plpgsql AS $$
    DECLARE
        upload uploads := lock_upload(of_key);
        owner accounts;
    BEGIN
        IF upload.key IS NULL THEN
            RETURN 'late';
        END IF;
        SELECT * INTO owner FROM accounts WHERE account = upload.account;
        IF NOT has_room(owner, new_size - upload.size) THEN
            RETURN 'full';
        END IF;
        UPDATE uploads SET size = new_size, lease = seconds() + term WHERE key = of_key;
        UPDATE accounts SET reserved = reserved + new_size - upload.size
            WHERE account = upload.account;
        RETURN '';
    END
    $$
    """,
    """
    CREATE FUNCTION abandon(of_key text) RETURNS boolean LANGUAGE plpgsql AS $$
    DECLARE
        upload uploads := lock_upload(of_key);
    BEGIN
        IF upload.key IS NULL THEN
            RETURN EXISTS (SELECT FROM garbage WHERE key = of_key AND due = 0);
        END IF;
        DELETE FROM uploads WHERE key = of_key;
        UPDATE accounts SET reserved = reserved - upload.size WHERE account = upload.account;
        INSERT INTO garbage VALUES (of_key, 0, true);
        RETURN true;
    END
    $$
    """,
    # What somebody else has locked is left to the next round.
    """
    CREATE FUNCTION end_uploads(most bigint) RETURNS void LANGUAGE plpgsql AS $$
    DECLARE
        owner bigint;
    BEGIN
        FOR owner IN
            SELECT account FROM accounts WHERE account IN (
                SELECT account FROM uploads WHERE lease < seconds() ORDER BY lease LIMIT most
            ) ORDER BY user_name FOR UPDATE SKIP LOCKED
        LOOP
            WITH ended AS (
                DELETE FROM uploads WHERE account = owner AND lease < seconds()
                    RETURNING key, size
            ), thrown AS (
                INSERT INTO garbage SELECT key, 0, true FROM ended
            )
            UPDATE accounts
                SET reserved = reserved - (SELECT coalesce(sum(size), 0) FROM ended)
                WHERE account = owner;
        END LOOP;
    END
    $$
    """,
    # Whoever is told of a key has a while to remove its payload: nobody else is told meanwhile.
    # Nobody waits longer than ever for what was noted by a clock that was ahead.
    """
    CREATE FUNCTION collect(most bigint, term bigint, longest bigint)
    RETURNS SETOF text LANGUAGE plpgsql AS $$
    BEGIN
        UPDATE uploads SET lease = seconds() + term WHERE lease > seconds() + term;
        UPDATE garbage SET due = seconds() + longest WHERE due > seconds() + longest;
        PERFORM end_uploads(most);
        RETURN QUERY
            UPDATE garbage SET due = seconds() + term, claimed = true WHERE key IN (
                SELECT key FROM garbage WHERE due <= seconds()
                    ORDER BY due LIMIT most FOR UPDATE SKIP LOCKED
            ) RETURNING key;
    END
    $$
    """,
    # Two may have removed the same payload: the later one does not forget what may still turn up.
    """
    CREATE FUNCTION forget(these text[], late bigint) RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
        DELETE FROM garbage
            WHERE key = ANY(these) AND (late = 0 OR (claimed AND NOT unpublished));
        UPDATE garbage SET due = seconds() + late, unpublished = false, claimed = false
            WHERE key = ANY(these) AND unpublished;
    END
    $$
    """,
    """
    CREATE FUNCTION note_store_mark(new_mark text) RETURNS store LANGUAGE plpgsql AS $$
    DECLARE
        noted store;
    BEGIN
        INSERT INTO store SELECT true, new_mark, false WHERE NOT EXISTS (
            SELECT FROM blobs WHERE key IS NOT NULL
            UNION ALL SELECT FROM uploads UNION ALL SELECT FROM garbage
        ) ON CONFLICT DO NOTHING;
        SELECT * INTO noted FROM store;
        RETURN noted;
    END
    $$
    """,
)
"""The statements that make them."""
