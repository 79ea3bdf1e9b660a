/* GRANT: a relay that is given the keys of some collections reads these, and nothing else, not with all it was ever given. */
#include "tests/unit/cores.h"

#include "core/db_i.h"
#include "core/sync_feeds.h"
#include "core/sync_snapshot.h"

#include <stdatomic.h>

#define DEVICES 3
#define RELAY 3

struct home {
	struct side s[DEVICES + 1];
	struct grant_info notes;
	struct grant_info secret;
	struct id in_notes;
	struct id in_secret;
	unsigned run;
};

static void make_collection(struct side *s, const char *name, struct grant_info *ret)
{
	struct txn *t = db_begin(s->db);
	struct id root = db_root(s->db);

	*ret = (struct grant_info){0};
	(void)snprintf(ret->name, sizeof(ret->name), "%s", name);
	(void)db_new_id(t, &root, name, NODE_DIR, 0, &ret->collection);
	assert(db_put_node(t, &ret->collection, NODE_DIR, &root, name) == 0);
	assert(db_commit(t) == 0);
}

static struct id put(struct side *s, const struct id *dir, const char *name, const char *text)
{
	struct txn *t = db_begin(s->db);
	struct id id;

	(void)db_new_id(t, dir, name, NODE_RECORD, 0, &id);
	assert(db_put_node(t, &id, NODE_RECORD, dir, name) == 0);
	assert(db_put_content(t, &id, NULL, SLICE_STR(text)) >= 0);
	assert(db_commit(t) == 0);
	return id;
}

static void set(struct side *s, const struct id *node, const char *text)
{
	struct txn *t = db_begin(s->db);

	assert(db_put_content(t, node, NULL, SLICE_STR(text)) >= 0);
	assert(db_commit(t) == 0);
}

static bool reads(struct side *s, const struct id *node, const char *text)
{
	AUTO(buf_fini) struct buf content = {0};
	struct txn *t = db_begin(s->db);
	int r = db_read(t, node, &content);

	db_abort(t);
	return r == 0 && slice_eq(buf_slice(&content), SLICE_STR(text));
}

/* Two collections, three devices, and a relay that may read one of them. */
static void set_up(struct home *h, unsigned run)
{
	AUTO(buf_fini) struct buf cert = {0};
	AUTO(buf_fini) struct buf welcome = {0};
	struct side *relay = &h->s[RELAY];
	struct why why = {""};

	h->run = run;
	family(h->s, DEVICES, run);
	make_collection(&h->s[0], "notes-canary-name", &h->notes);
	make_collection(&h->s[0], "secret-canary-name", &h->secret);
	h->in_notes = put(&h->s[0], &h->notes.collection, "a.txt", "of the notes\n");
	h->in_secret = put(&h->s[0], &h->secret.collection, "canary.txt", "canary\n");
	assert(db_set_shared(h->s[0].db, "relays", "ws://canary#k=canary") == 0);
	side_create(relay, run, RELAY);
	keys_cert(relay->keys, &cert);
	(void)snprintf(h->notes.name, sizeof(h->notes.name), "notes");
	assert(db_grant(h->s[0].db, buf_slice(&cert), &h->notes, 1) == 0);
	db_welcome_relay(h->s[0].db, &welcome);
	assert(db_join(relay->dir, relay->keys, buf_slice(&welcome), &why) == 0);
	side_open(relay);
	for (unsigned i = 1; i < DEVICES; i++)
		(void)talk(&h->s[0], &h->s[i]);
}

static void end(struct home *h)
{
	for (unsigned i = 0; i <= DEVICES; i++)
		side_destroy(&h->s[i]);
}

static uint64_t actor_of(struct home *h, unsigned i)
{
	return db_actor(h->s[i].db);
}

static const char *sought;

static int look_into(const char *path, const struct stat *st, int type, struct FTW *at)
{
	FILE *f = type == FTW_F && st->st_size < (8 << 20) ? fopen(path, "re") : NULL;

	(void)at;
	if (!f)
		return 0;
	char *bytes = xmalloc((size_t)st->st_size + 1);
	size_t n = fread(bytes, 1, (size_t)st->st_size, f);
	int found = memmem(bytes, n, sought, strlen(sought)) != NULL;
	free(bytes);
	(void)fclose(f);
	return found;
}

/* Whether the side's directory holds the text anywhere. */
static bool holds(const struct side *s, const char *text)
{
	sought = text;
	return nftw(s->dir, look_into, 16, FTW_PHYS) == 1;
}

/* Goes through all envelopes of a side, whole feeds at a time. */
struct walk {
	struct feed_pos *all;
	size_t count;
	size_t at;
	uint64_t cursor;
};

static bool next_of(struct side *s, struct walk *w, struct feed_item *item, struct buf *ret)
{
	if (!w->all) {
		w->count = db_have(s->db, &w->all);
		for (size_t i = 1; i < w->count; i++)
			w->all[i].seq = UINT64_MAX;
		if (w->count)
			w->all[0].seq = 0;
	}
	while (w->at < w->count) {
		buf_clear(ret);
		if (db_next_envelope(s->db, &w->cursor, w->all, w->count, item, ret) == 1) {
			w->all[w->at].seq = item->pos.seq;
			return true;
		}
		w->all[w->at++].seq = UINT64_MAX;
		w->cursor = 0;
		if (w->at < w->count)
			w->all[w->at].seq = 0;
	}
	free(w->all);
	return false;
}

/* Everything that device 0 has, opened with all the keys that the relay has, as if they were an epoch's or the stream's. */
static size_t opened_by_relay(struct home *h)
{
	const struct db *relay = h->s[RELAY].db;
	const struct id collections[] = {h->notes.collection, h->secret.collection};
	struct db *db = h->s[0].db;
	struct feed_item item;
	AUTO(buf_fini) struct buf bytes = {0};
	struct walk w = {0};
	size_t opened = 0;

	assert(relay->limited && relay->ring);
	while (next_of(&h->s[0], &w, &item, &bytes)) {
		bool found = false;

		for (size_t i = 0; i <= countof(collections) && !found; i++) {
			struct id of = i < countof(collections)
					       ? feed_stream_id(db, "collection", &collections[i])
					       : relay->auth_stream;
			const struct envelope_place keys = grant_place(relay, &of, 0);

			for (size_t k = 0; k < keys.ring->count && !found; k++) {
				for (unsigned granted = 0; granted < 2; granted++) {
					struct envelope_place at = {
						.root_key = keys.ring->keys[k],
						.granted = granted,
						.stream = item.pos.stream,
						.actor = item.pos.actor,
					};

					found = found || envelope_key(&at, buf_slice(&bytes));
				}
			}
		}
		struct id notes = feed_stream_id(db, "collection", &h->notes.collection);
		bool may = id_eq(&item.pos.stream, &notes) ||
			   id_eq(&item.pos.stream, &db->auth_stream);
		assert(found == may);
		opened += found;
	}
	return opened;
}

/* It reads what it was granted, old and new, of all authors; the rest it has not, and could not read. */
static void test_reads_what_it_may(void)
{
	struct home h;
	static const uint8_t zeros[DIGEST_BYTES];

	set_up(&h, 1);
	assert(db_is_limited(h.s[RELAY].db) && db_own_role(h.s[RELAY].db) == MEMBER_RELAY);
	(void)talk(&h.s[0], &h.s[RELAY]);
	assert(reads(&h.s[RELAY], &h.in_notes, "of the notes\n"));
	set(&h.s[1], &h.in_notes, "changed\n");
	struct id later = put(&h.s[1], &h.notes.collection, "b.json", "{\"b\": 1}\n");
	set(&h.s[1], &h.in_secret, "canary again\n");
	(void)talk(&h.s[1], &h.s[RELAY]);
	assert(reads(&h.s[RELAY], &h.in_notes, "changed\n"));
	assert(reads(&h.s[RELAY], &later, "{\"b\": 1}\n"));
	assert(!reads(&h.s[RELAY], &h.in_secret, "canary again\n"));
	(void)talk(&h.s[0], &h.s[1]);

	assert(memcmp(h.s[RELAY].db->root_key, zeros, sizeof(zeros)) == 0);
	assert(h.s[RELAY].db->ring->count == 1 && h.s[RELAY].db->epoch_key_count == 0);
	assert(opened_by_relay(&h) > 2);
	assert(!holds(&h.s[RELAY], "canary") && holds(&h.s[RELAY], "changed"));
	assert(holds(&h.s[0], "canary")); /* it could be found */

	/* Nor what is in `auth` for people's own devices: where other relays are, and how to get in. */
	AUTO(free_ptr) char *value = NULL;
	assert(db_get_shared(h.s[1].db, "relays", &value) == 0);
	assert(strcmp(value, "ws://canary#k=canary") == 0);
	free(STEAL(value));
	assert(db_get_shared(h.s[RELAY].db, "relays", &value) == -ENOENT);

	/* Not even as ciphertext: of what it holds, all is `auth` or notes. */
	struct feed_pos *have = NULL;
	size_t n = db_have(h.s[RELAY].db, &have);
	assert(n > 0);
	for (size_t i = 0; i < n; i++)
		assert(db_may_have(h.s[0].db, actor_of(&h, RELAY), &have[i].stream));
	free(have);

	/* What it passes on is what was made: device 2 takes it from the relay alone. */
	(void)talk(&h.s[2], &h.s[RELAY]);
	assert(reads(&h.s[2], &h.in_notes, "changed\n"));
	assert(!reads(&h.s[2], &h.in_secret, "canary again\n"));

	/* P7: nobody waits for a relay, and what it cannot have is not counted as missing there. */
	assert(db_sync(h.s[RELAY].db) == 0);
	(void)talk(&h.s[0], &h.s[RELAY]);
	assert(db_peer_behind(h.s[0].db, actor_of(&h, RELAY)) == 0);

	/* The same after a restart. */
	db_close(h.s[RELAY].db);
	side_open(&h.s[RELAY]);
	assert(db_is_limited(h.s[RELAY].db) && reads(&h.s[RELAY], &h.in_notes, "changed\n"));
	set(&h.s[0], &h.in_notes, "once more\n");
	(void)talk(&h.s[0], &h.s[RELAY]);
	assert(reads(&h.s[RELAY], &h.in_notes, "once more\n"));
	struct grant_info *grants = NULL;
	assert(db_grants(h.s[2].db, actor_of(&h, RELAY), &grants) == 1);
	assert(strcmp(grants[0].name, "notes") == 0);
	free(grants);
	end(&h);
}

/* As talk(), with one that was removed: the two do not come to have the same. */
static void meet(struct home *h, unsigned a, unsigned b)
{
	struct sync_options oa = {
		.db = h->s[a].db, .peer = actor_of(h, b), .endpoint = "", .now_ms = 1};
	struct sync_options ob = {
		.db = h->s[b].db, .peer = actor_of(h, a), .endpoint = "", .now_ms = 1};
	struct wire w = {.from = {sync_create(&oa), sync_create(&ob)}};

	converse(&w, &h->s[a], &h->s[b]);
	sync_destroy(w.from[0]);
	sync_destroy(w.from[1]);
}

/* Another collection is granted later: all of it comes, on a connection that has passed it over. */
static void test_granted_later(void)
{
	AUTO(buf_fini) struct buf cert = {0};
	struct home h;

	set_up(&h, 2);
	(void)talk(&h.s[0], &h.s[RELAY]);
	struct sync_options oa = {
		.db = h.s[0].db, .peer = actor_of(&h, RELAY), .endpoint = "", .now_ms = 1};
	struct sync_options ob = {
		.db = h.s[RELAY].db, .peer = actor_of(&h, 0), .endpoint = "", .now_ms = 1};
	struct wire w = {.from = {sync_create(&oa), sync_create(&ob)}};
	converse(&w, &h.s[0], &h.s[RELAY]);
	assert(!reads(&h.s[RELAY], &h.in_secret, "canary\n"));
	keys_cert(h.s[RELAY].keys, &cert);
	assert(db_grant(h.s[0].db, buf_slice(&cert), &h.secret, 1) == 0);
	converse(&w, &h.s[0], &h.s[RELAY]);
	assert(reads(&h.s[RELAY], &h.in_secret, "canary\n"));
	sync_destroy(w.from[0]);
	sync_destroy(w.from[1]);
	end(&h);
}

/* A device is removed: the relay is given the new epoch's key of its stream, by whoever manages, and no more than that. */
static void test_goes_on_after_a_removal(void)
{
	struct home h;
	struct why why = {""};

	set_up(&h, 3);
	(void)talk(&h.s[0], &h.s[RELAY]);
	assert(db_remove_member(h.s[0].db, actor_of(&h, 2), &why) == 0);
	set(&h.s[0], &h.in_notes, "under the new epoch\n");
	set(&h.s[0], &h.in_secret, "canary\n");
	assert(db_set_shared(h.s[0].db, "relays", "moved") == 0);
	assert(db_seal(h.s[0].db) == 0);
	(void)talk(&h.s[0], &h.s[RELAY]);
	(void)talk(&h.s[0], &h.s[RELAY]);
	(void)talk(&h.s[0], &h.s[1]);
	meet(&h, 0, 2);
	AUTO(free_ptr) char *value = NULL;
	assert(db_get_shared(h.s[1].db, "relays", &value) == 0 && strcmp(value, "moved") == 0);
	free(STEAL(value));
	assert(db_is_removed(h.s[2].db)); /* it hears that, and goes by what it could read before */
	assert(db_get_shared(h.s[2].db, "relays", &value) == 0 && strcmp(value, "moved") != 0);
	assert(reads(&h.s[RELAY], &h.in_notes, "under the new epoch\n"));
	assert(h.s[RELAY].db->ring->count == 1);
	(void)opened_by_relay(&h);
	size_t operations = h.s[0].db->auth_count;
	assert(db_seal(h.s[0].db) == 0 && h.s[0].db->auth_count == operations); /* once */
	end(&h);
}

/* Revoked, it gets nothing new, and what is new is under keys it has not. */
static void test_revoked(void)
{
	struct home h;
	struct why why = {""};
	struct grant_info *grants = NULL;

	set_up(&h, 4);
	(void)talk(&h.s[0], &h.s[RELAY]);
	assert(db_remove_member(h.s[0].db, actor_of(&h, RELAY), &why) == 0);
	set(&h.s[0], &h.in_notes, "after\n");
	assert(db_seal(h.s[0].db) == 0);
	struct id notes = feed_stream_id(h.s[0].db, "collection", &h.notes.collection);
	assert(!db_may_have(h.s[0].db, actor_of(&h, RELAY), &notes));
	assert(db_grants(h.s[0].db, actor_of(&h, RELAY), &grants) == 0);
	free(grants);
	meet(&h, 0, RELAY);
	assert(db_is_removed(h.s[RELAY].db));
	assert(reads(&h.s[RELAY], &h.in_notes, "of the notes\n"));
	assert(!holds(&h.s[RELAY], "after"));
	/* What others put elsewhere, it cannot open either. */
	AUTO(buf_fini) struct buf bytes = {0};
	struct feed_item item;
	struct walk w = {0};
	size_t closed = 0;
	while (next_of(&h.s[0], &w, &item, &bytes)) {
		const struct envelope_place at =
			grant_place(h.s[RELAY].db, &item.pos.stream, item.pos.actor);

		closed += id_eq(&item.pos.stream, &notes) && !envelope_key(&at, buf_slice(&bytes));
	}
	assert(closed > 0);
	end(&h);
}

/* It has the keys to seal, and no right: a change of its own is taken by nobody, nor one in another's name. */
static void test_forgeries(void)
{
	AUTO(buf_fini) struct buf forged = {0};
	struct home h;

	set_up(&h, 5);
	(void)talk(&h.s[0], &h.s[RELAY]);
	struct id notes = feed_stream_id(h.s[0].db, "collection", &h.notes.collection);
	const struct slice change = SLICE_STR("whatever");
	uint64_t last = 0;
	/* Its own database refuses; its program need not. */
	struct txn *t = db_begin(h.s[RELAY].db);
	assert(db_put_content(t, &h.in_notes, NULL, SLICE_STR("forged\n")) >= 0);
	assert(db_commit(t) == -EROFS);
	struct envelope_place own = grant_place(h.s[RELAY].db, &notes, actor_of(&h, RELAY));
	envelope_seal(&own, h.s[RELAY].keys, 1, &change, 1, &forged);
	assert(db_apply_envelope(h.s[0].db, &notes, own.actor, buf_slice(&forged), &last) == -EACCES);
	/* In the name of device 1, which has written nothing there: the place is right, the signature is not. */
	struct envelope_place at = grant_place(h.s[RELAY].db, &notes, actor_of(&h, 1));
	envelope_seal(&at, h.s[RELAY].keys, 1, &change, 1, &forged);
	assert(db_apply_envelope(h.s[0].db, &notes, at.actor, buf_slice(&forged), &last) == -EBADMSG);
	assert(reads(&h.s[0], &h.in_notes, "of the notes\n"));
	/* Nor can it admit, remove or grant. */
	AUTO(buf_fini) struct buf cert = {0};
	struct why why = {""};
	keys_cert(h.s[2].keys, &cert);
	assert(db_grant(h.s[RELAY].db, buf_slice(&cert), &h.notes, 1) == -EPERM);
	assert(db_remove_member(h.s[RELAY].db, actor_of(&h, 1), &why) == -EPERM);
	assert(db_grant(h.s[0].db, buf_slice(&cert), &h.notes, 1) == -EEXIST);
	end(&h);
}

static void say(struct side *s, const struct auth_op *op)
{
	struct txn *t = db_begin(s->db);

	member_do(t, op);
	assert(db_commit(t) == 0 && db_seal(s->db) == 0);
}

/* Who may not manage says all the same that somebody is a relay and may read: it counts for nobody. */
static void test_granted_by_who_may_not(void)
{
	AUTO(buf_fini) struct buf cert = {0};
	AUTO(buf_fini) struct buf keys = {0};
	uint8_t sealed[AUTH_SEALED_BYTES] = {1};
	struct why why = {""};
	struct grant_info *grants = NULL;
	struct member_info found;
	struct side stranger;
	struct home h;

	set_up(&h, 7);
	struct id secret = feed_stream_id(h.s[0].db, "collection", &h.secret.collection);
	assert(db_set_role(h.s[0].db, actor_of(&h, 1), MEMBER_WRITE, &why) == 0);
	(void)talk(&h.s[0], &h.s[1]);
	keys_cert(h.s[RELAY].keys, &cert);
	assert(db_grant(h.s[1].db, buf_slice(&cert), &h.secret, 1) == -EPERM);
	/* Its program need not ask: to the relay that is one, and to one of its own. */
	const struct id epoch = epoch_id(h.s[1].db->ring->keys[0]);
	auth_put_grant(&keys, &epoch, sealed);
	struct auth_op grant = {.kind = AUTH_GRANT,
				.device = actor_of(&h, RELAY),
				.collection = h.secret.collection,
				.name = SLICE_STR("secret"),
				.sealed = buf_slice(&keys)};
	say(&h.s[1], &grant);
	side_create(&stranger, 7, RELAY + 1);
	buf_clear(&cert);
	keys_cert(stranger.keys, &cert);
	const struct auth_op admission = {
		.kind = AUTH_MEMBER, .cert = buf_slice(&cert), .role = MEMBER_RELAY};
	say(&h.s[1], &admission);
	grant.device = keys_device(stranger.keys)->actor;
	say(&h.s[1], &grant);
	size_t before = h.s[0].db->auth_count;
	(void)talk(&h.s[1], &h.s[0]);
	assert(h.s[0].db->auth_count == before + 3); /* they came, and mean nothing */
	assert(!db_may_have(h.s[0].db, actor_of(&h, RELAY), &secret));
	assert(db_grants(h.s[0].db, actor_of(&h, RELAY), &grants) == 1);
	free(STEAL(grants));
	assert(db_grants(h.s[0].db, grant.device, &grants) == 0);
	free(grants);
	assert(db_member_by_key(h.s[0].db, keys_device(stranger.keys)->dh_pk, &found) < 0 ||
	       found.removed);
	keys_destroy(stranger.keys);
	end(&h);
}

/* Revoked and granted something else: the old GRANT is still in the set of operations, whoever says it again, and counts no more. */
static void test_granted_anew(void)
{
	AUTO(buf_fini) struct buf cert = {0};
	AUTO(buf_fini) struct buf welcome = {0};
	struct grant_info *grants = NULL;
	struct why why = {""};
	struct home h;

	set_up(&h, 8);
	struct id notes = feed_stream_id(h.s[0].db, "collection", &h.notes.collection);
	struct id secret = feed_stream_id(h.s[0].db, "collection", &h.secret.collection);
	(void)talk(&h.s[0], &h.s[RELAY]);
	struct opid first = db_own_admission(h.s[RELAY].db);
	assert(db_remove_member(h.s[0].db, actor_of(&h, RELAY), &why) == 0);
	keys_cert(h.s[RELAY].keys, &cert);
	assert(db_grant(h.s[0].db, buf_slice(&cert), &h.secret, 1) == 0);
	set(&h.s[0], &h.in_notes, "not for the relay\n");
	set(&h.s[0], &h.in_secret, "for the relay\n");
	meet(&h, 0, RELAY);
	meet(&h, 0, RELAY);
	assert(!db_is_removed(h.s[RELAY].db)); /* and by this it knows that what it has is of before */
	assert(opid_cmp(db_own_admission(h.s[RELAY].db), first) != 0);
	assert(!db_may_have(h.s[0].db, actor_of(&h, RELAY), &notes));
	assert(db_may_have(h.s[0].db, actor_of(&h, RELAY), &secret));
	assert(db_grants(h.s[0].db, actor_of(&h, RELAY), &grants) == 1);
	assert(id_eq(&grants[0].collection, &h.secret.collection));
	free(grants);
	assert(!holds(&h.s[RELAY], "not for the relay"));
	end(&h);
}

/* Two admit the relay without knowing of each other: what either granted counts. */
static void test_granted_by_two(void)
{
	AUTO(buf_fini) struct buf cert = {0};
	struct grant_info *grants = NULL;
	struct home h;
	struct side other;

	set_up(&h, 9);
	side_create(&other, 9, RELAY + 1);
	keys_cert(other.keys, &cert);
	uint64_t actor = keys_device(other.keys)->actor;
	assert(db_grant(h.s[0].db, buf_slice(&cert), &h.notes, 1) == 0);
	assert(db_grant(h.s[1].db, buf_slice(&cert), &h.secret, 1) == 0);
	(void)talk(&h.s[0], &h.s[1]);
	for (unsigned i = 0; i < 2; i++) {
		assert(db_grants(h.s[i].db, actor, &grants) == 2);
		free(STEAL(grants));
	}
	keys_destroy(other.keys);
	end(&h);
}

/* It asks for what it may not have: a snapshot, the log, all of everything. */
struct listener {
	struct home *h;
	struct sync *s;
	struct sync_feeds feeds; /* as the relay would number them */
	size_t envelopes;
};

/* Hears all that is said: envelopes, and what devices hold, of `auth` and notes only. */
static void hear(struct listener *l)
{
	AUTO(buf_fini) struct buf m = {0};
	struct db *db = l->h->s[0].db;
	struct id notes = feed_stream_id(db, "collection", &l->h->notes.collection);

	while (sync_next(l->s, &m) == 1) {
		struct reader r = reader_init(buf_slice(&m));
		uint8_t type = reader_u8(&r);
		bool ack = type == 5;
		uint64_t count = 1;

		assert(type != 15 && type != SYNC_LOG && type != SYNC_SNAPSHOT_PIECE);
		if (ack) {
			(void)reader_be64(&r);
			count = reader_varint(&r);
		} else if (type == 4 || type == 20) {
			l->envelopes++;
		} else {
			continue;
		}
		for (uint64_t i = 0; i < count; i++) {
			struct id stream = sync_feeds_read(&l->feeds, &r).stream;

			assert(!r.bad);
			assert(id_eq(&stream, &notes) || id_eq(&stream, &db->auth_stream));
			if (ack)
				(void)reader_varint(&r);
		}
	}
}

static void test_asks_for_more(void)
{
	AUTO(buf_fini) struct buf m = {0};
	AUTO(buf_fini) struct buf hello = {0};
	struct home h;

	set_up(&h, 6);
	struct sync_options oa = {
		.db = h.s[0].db, .peer = actor_of(&h, RELAY), .endpoint = "", .now_ms = 1};
	struct sync_options ob = {
		.db = h.s[RELAY].db, .peer = actor_of(&h, 0), .endpoint = "", .now_ms = 1};
	struct listener l = {.h = &h, .s = sync_create(&oa)};
	struct sync *relay = sync_create(&ob);
	assert(sync_next(relay, &hello) == 1 && sync_receive(l.s, buf_slice(&hello)) == 0);
	buf_u8(&m, SYNC_SNAPSHOT_ASK);
	id_write(&m, &(struct id){{0}});
	buf_varint(&m, 0);
	buf_bytes(&m, SLICE("", 0));
	assert(sync_receive(l.s, buf_slice(&m)) == 0);
	hear(&l);
	assert(l.envelopes == 0);
	buf_clear(&m);
	buf_u8(&m, 3); /* HAVE: nothing */
	buf_varint(&m, 0);
	assert(sync_receive(l.s, buf_slice(&m)) == 0);
	hear(&l);
	assert(l.envelopes >= 2);
	buf_clear(&m);
	buf_u8(&m, SYNC_LOG_ASK);
	buf_varint(&m, 1);
	id_write(&m, &h.s[0].db->root_stream);
	buf_be64(&m, actor_of(&h, 0));
	buf_varint(&m, 0);
	buf_varint(&m, 1000);
	assert(sync_receive(l.s, buf_slice(&m)) == 0);
	hear(&l);
	sync_feeds_fini(&l.feeds);
	sync_destroy(l.s);
	sync_destroy(relay);
	end(&h);
}

int main(void)
{
	const char *tmp = getenv("TMPDIR");

	digest_init();
	(void)snprintf(base, sizeof(base), "%s/blaze-grant-XXXXXX", tmp ? tmp : "/tmp");
	assert(mkdtemp(base));
	seed = 7;
	test_reads_what_it_may();
	test_granted_later();
	test_goes_on_after_a_removal();
	test_revoked();
	test_forgeries();
	test_asks_for_more();
	test_granted_by_who_may_not();
	test_granted_anew();
	test_granted_by_two();
	assert(nftw(base, remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0);
	return 0;
}
