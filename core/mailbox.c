/* Items out of a database; see mailbox.h. */
#include "core/db_chunks.h"
#include "core/mailbox_i.h"
#include "core/snapshot.h"
#include "core/stratum.h"

#include <stdlib.h>
#include <string.h>

/* ---- items --------------------------------------------------------------------------------------- */

static bool has_seqs(enum mailbox_kind kind)
{
	return kind == MAILBOX_ENVELOPE || kind == MAILBOX_STRATUM;
}

int mailbox_head_decode(struct slice bytes, struct mailbox_item *ret)
{
	struct reader r = reader_init(bytes);
	struct mailbox_item item = {.kind = (enum mailbox_kind)reader_u8(&r)};

	item.epoch = reader_be64(&r);
	item.tag = id_read(&r);

	if (bytes.len > MAILBOX_ITEM_BYTES_MAX || item.kind < MAILBOX_ENVELOPE ||
	    item.kind > MAILBOX_SLOT)
		return -EBADMSG;
	if (has_seqs(item.kind)) {
		item.seq_first = reader_varint_max(&r, INT64_MAX);
		item.count = reader_varint_max(&r, INT32_MAX);
		if (item.seq_first == 0 || item.count == 0)
			return -EBADMSG;
	}
	item.head = SLICE(bytes.data, bytes.len - reader_left(&r));
	item.sealed = reader_take(&r, reader_left(&r));
	if (r.bad)
		return -EBADMSG;
	*ret = item;
	return 0;
}

int mailbox_item_decode(struct slice bytes, struct mailbox_item *ret)
{
	struct mailbox_item item;
	int r = mailbox_head_decode(bytes, &item);

	if (r < 0 || item.sealed.len < ENVELOPE_PIECE_EXTRA_BYTES + 24)
		return -EBADMSG;
	*ret = item;
	return 0;
}

/* ---- what the place holds ------------------------------------------------------------------------ */

struct id db_mailbox_id(struct db *db)
{
	const struct slice part = SLICE(db->root_key, sizeof(db->root_key));

	return digest_id("blaze mailbox", &part, 1);
}

struct mailbox *mailbox_create(struct db *db, uint64_t place)
{
	struct mailbox *m = xcalloc(1, sizeof(*m));

	m->db = db;
	m->place = place;
	m->foreign_wait_ms = MAILBOX_FOREIGN_MS;
	m->id = db_mailbox_id(db);
	mailbox_refresh_keys(m);
	return m;
}

static void forget_item(struct mailbox *m)
{
	buf_clear(&m->item);
	free(STEAL(m->chunks));
	m->chunk_count = 0;
	m->chunk_next = 0;
	m->asking = 0;
	m->lacked_count = 0;
}

void mailbox_destroy(struct mailbox *m)
{
	if (!m)
		return;
	mailbox_unask(m);
	for (size_t i = 0; i < m->waiting_count; i++)
		buf_fini(&m->waiting[i].envelope);
	free(m->waiting);
	sync_strata_fini(&m->strata);
	forget_item(m);
	buf_fini(&m->item);
	buf_fini(&m->claimed);
	free(m->held);
	free(m->lacking);
	mailbox_keys_fini(m);
	free(m);
}

struct id mailbox_id(const struct mailbox *m)
{
	return m->id;
}

void mailbox_on_log(struct mailbox *m,
		    void (*fn)(void *ctx, uint64_t actor, const struct mailbox_log *log), void *ctx)
{
	m->on_log = fn;
	m->on_log_ctx = ctx;
}

void mailbox_raise(struct mailbox *m, const struct feed_pos *p)
{
	size_t lo = 0;
	size_t hi = m->held_count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (feed_pos_cmp(&m->held[mid], p) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo < m->held_count && feed_pos_cmp(&m->held[lo], p) == 0) {
		if (m->held[lo].seq < p->seq)
			m->held[lo].seq = p->seq;
		return;
	}
	m->held = xreallocarray(m->held, m->held_count + 1, sizeof(*m->held));
	memmove(m->held + lo + 1, m->held + lo, (m->held_count - lo) * sizeof(*m->held));
	m->held[lo] = *p;
	m->held_count++;
}

void mailbox_reset(struct mailbox *m)
{
	m->started = false;
	m->held_count = 0;
	m->cursor = 0;
	memset(m->later, 0, sizeof(m->later));
	m->awaited_count = 0;
	wipe(m->slot, sizeof(m->slot));
	wipe(m->slot_places, sizeof(m->slot_places));
	forget_item(m);
}

struct tagged {
	struct id tag;
	struct feed_pos pos;
	size_t feed; /* the same for all tags of a feed */
};

static int compare_tags(const void *a, const void *b)
{
	const struct tagged *x = a;
	const struct tagged *y = b;

	return id_cmp(&x->tag, &y->tag);
}

/* The feeds that are here, by tag, under all keys. Caller frees. */
static struct tagged *list_tags(const struct mailbox *m, size_t *ret_count)
{
	struct feed_pos *have = NULL;
	size_t n = db_have(m->db, &have);
	struct tagged *list = xcalloc(n * m->key_count, sizeof(*list));
	size_t count = 0;

	for (size_t i = 0; i < n; i++) {
		bool auth = id_eq(&have[i].stream, &m->db->auth_stream);

		for (size_t k = 0; k < (auth ? 1 : m->key_count); k++)
			list[count++] = (struct tagged){
				.tag = mailbox_feed_tag(&m->keys[k], &have[i].stream, have[i].actor),
				.pos = have[i],
				.feed = i,
			};
	}
	free(have);
	if (count > 0)
		qsort(list, count, sizeof(*list), compare_tags);
	*ret_count = count;
	return list;
}

int mailbox_start(struct mailbox *m, struct slice have)
{
	struct reader r = reader_init(have);
	size_t count = 0;

	mailbox_refresh_keys(m);
	struct tagged *list = list_tags(m, &count);
	while (reader_left(&r) > 0) {
		struct tagged key = {.tag = id_read(&r)};
		uint64_t seq = reader_varint(&r);
		struct tagged *known =
			count ? bsearch(&key, list, count, sizeof(*list), compare_tags) : NULL;

		if (!known || r.bad)
			continue;
		known->pos.seq = seq;
		mailbox_raise(m, &known->pos);
	}
	free(list);
	buf_clear(&m->claimed);
	buf_slice_append(&m->claimed, have);
	m->started = !r.bad;
	m->cursor = 0;
	for (size_t i = 0; i < MAILBOX_LATER_COUNT; i++)
		m->later[i].ripe = !m->leaves;
	m->auth_looked = UINT64_MAX;
	return r.bad ? -EBADMSG : 0;
}

struct piece {
	struct feed_pos at; /* seq = its last */
	uint64_t first;
};

static int compare_pieces(const void *a, const void *b)
{
	const struct piece *x = a;
	const struct piece *y = b;
	int c = feed_pos_cmp(&x->at, &y->at);

	return c ? c : (x->first > y->first) - (x->first < y->first);
}

/* The pieces of the feeds that are here, sorted. Caller frees. */
static struct piece *find_pieces(struct mailbox *m, const struct mailbox_range *ranges,
				 size_t count, size_t *ret_count)
{
	size_t tag_count = 0;
	struct tagged *list = list_tags(m, &tag_count);
	struct piece *pieces = xcalloc(count, sizeof(*pieces));
	size_t n = 0;

	for (size_t i = 0; i < count && tag_count > 0; i++) {
		struct tagged key = {.tag = ranges[i].tag};
		const struct tagged *known =
			bsearch(&key, list, tag_count, sizeof(*list), compare_tags);

		if (!known)
			continue;
		pieces[n] = (struct piece){.at = known->pos, .first = ranges[i].first};
		pieces[n++].at.seq = ranges[i].last;
	}
	free(list);
	if (n > 1)
		qsort(pieces, n, sizeof(*pieces), compare_pieces);
	*ret_count = n;
	return pieces;
}

void mailbox_holds(struct mailbox *m, const struct mailbox_range *ranges, size_t count)
{
	AUTO(free_ptr) struct feed_pos *old = STEAL(m->held);
	size_t old_count = m->held_count;
	size_t n = 0;

	mailbox_refresh_keys(m);
	AUTO(free_ptr) struct piece *pieces = find_pieces(m, ranges, count, &n);
	m->held_count = 0;
	for (size_t i = 0, next; i < n; i = next) {
		struct feed_pos held = pieces[i].at;

		held.seq = 0;
		for (next = i; next < n && feed_pos_cmp(&pieces[next].at, &held) == 0; next++) {
			if (pieces[next].first <= held.seq + 1 && pieces[next].at.seq > held.seq)
				held.seq = pieces[next].at.seq;
		}
		if (held.seq > 0)
			mailbox_raise(m, &held);
	}
	for (size_t i = 0; i < old_count; i++) {
		if (feed_pos_seq(m->held, m->held_count, &old[i].stream, old[i].actor) >= old[i].seq)
			continue;
		m->cursor = 0;
		m->auth_looked = UINT64_MAX;
	}
}

void mailbox_be_patient(struct mailbox *m, uint64_t wait_ms,
			bool (*leaves)(void *ctx, uint64_t actor), void *ctx)
{
	m->foreign_wait_ms = wait_ms;
	m->leaves = leaves;
	m->leaves_ctx = ctx;
}

size_t mailbox_feeds(struct mailbox *m, struct mailbox_feed **ret)
{
	size_t count = 0;

	mailbox_refresh_keys(m);
	struct tagged *list = list_tags(m, &count);
	struct mailbox_feed *feeds = xcalloc(count, sizeof(*feeds));
	for (size_t i = 0; i < count; i++)
		feeds[i] = (struct mailbox_feed){
			.tag = list[i].tag, .feed = list[i].feed, .seq = list[i].pos.seq};
	free(list);
	*ret = feeds;
	return count;
}

struct id mailbox_device_tag(const struct mailbox *m, uint64_t actor)
{
	return mailbox_slot_tag(&m->keys[0], actor);
}

bool mailbox_has_key(struct mailbox *m, uint64_t epoch)
{
	return mailbox_find_key(m, epoch);
}

bool mailbox_lags(const struct mailbox *m)
{
	struct reader r = reader_init(buf_slice(&m->claimed));
	size_t count = 0;
	struct tagged *list = list_tags(m, &count);
	bool lags = false;

	while (!lags && reader_left(&r) > 0) {
		struct tagged key = {.tag = id_read(&r)};
		uint64_t seq = reader_varint(&r);
		const struct tagged *known =
			count ? bsearch(&key, list, count, sizeof(*list), compare_tags) : NULL;

		lags = !known || known->pos.seq < seq;
	}
	free(list);
	return lags;
}

/* ---- putting ------------------------------------------------------------------------------------- */

static int compare_chunks(const void *a, const void *b)
{
	return chunk_id_cmp(a, b);
}

static void add_chunk(struct mailbox *m, const struct chunk_id *id)
{
	if (chunk_id_is_zero(id))
		return;
	m->chunks = xreallocarray(m->chunks, m->chunk_count + 1, sizeof(*m->chunks));
	m->chunks[m->chunk_count++] = *id;
}

static void add_manifest(struct mailbox *m, struct slice bytes)
{
	struct manifest *manifest = NULL;

	/* What is not here, this device cannot give: others do, or those who want it say so. */
	if (db_manifest_decode(m->db, bytes, &manifest) < 0)
		return;
	for (size_t i = 0; i < manifest->part_count; i++)
		add_chunk(m, &manifest->parts[i]);
	for (size_t i = 0; i < manifest->count; i++)
		add_chunk(m, &manifest->entries[i].id);
	manifest_unref(manifest);
}

static bool note_any(void *ctx, struct slice key, struct slice value)
{
	bool *any = ctx;

	(void)key;
	(void)value;
	*any = true;
	return false;
}

/* Finds the chunks that the changes up to pos->seq name. */
static int find_chunks(struct mailbox *m, const struct feed_pos *pos, uint64_t first)
{
	struct txn *t = db_begin(m->db);
	AUTO(buf_fini) struct buf bytes = {0};
	AUTO(changes_fini) struct changes changes = {0};
	bool any = false;
	int r = store_scan(t->store, SLICE_STR("k"), SLICE("", 0), note_any, &any);

	for (uint64_t seq = first; any && r == 0 && seq <= pos->seq; seq++) {
		struct feed_pos at = {.stream = pos->stream, .actor = pos->actor, .seq = seq};
		struct change c = {0};

		r = changes_get(&changes, t, &at, &bytes);
		if (r == 0)
			r = change_decode(buf_slice(&bytes), pos->actor, &c);
		for (size_t i = 0; r == 0 && i < c.ops.count; i++) {
			if (c.ops.items[i].kind == OP_CHUNKS)
				add_manifest(m, c.ops.items[i].value);
		}
		change_fini(&c);
	}
	db_abort(t);
	if (m->chunk_count > 0)
		qsort(m->chunks, m->chunk_count, sizeof(*m->chunks), compare_chunks);
	size_t n = 0;
	for (size_t i = 0; i < m->chunk_count; i++) {
		if (n == 0 || !chunk_id_eq(&m->chunks[n - 1], &m->chunks[i]))
			m->chunks[n++] = m->chunks[i];
	}
	m->chunk_count = n;
	return r;
}

/* A number given away must never be issued again after a power cut: durable first. */
static int make_durable(struct mailbox *m, const struct feed_pos *pos)
{
	struct feed_pos *durable = NULL;
	size_t n = db_durable(m->db, &durable);
	bool safe = feed_pos_seq(durable, n, &pos->stream, pos->actor) >= pos->seq;

	free(durable);
	return safe ? 0 : db_sync(m->db);
}

static int prepare_item(struct mailbox *m, const struct feed_item *found, struct slice bytes)
{
	AUTO(buf_fini) struct buf head = {0};
	struct envelope_range range;
	const struct mailbox_key *key = mailbox_current_key(m, &found->pos.stream);
	struct id tag = mailbox_feed_tag(key, &found->pos.stream, found->pos.actor);
	int r = found->packed ? stratum_range(bytes, &range) : envelope_range(bytes, &range);

	if (r == 0)
		r = find_chunks(m, &found->pos, range.seq_first);
	if (r == 0 && found->pos.actor == db_actor(m->db))
		r = make_durable(m, &found->pos);
	if (r < 0)
		return r;
	mailbox_write_head(&head, found->packed ? MAILBOX_STRATUM : MAILBOX_ENVELOPE, key, &tag);
	buf_varint(&head, range.seq_first);
	buf_varint(&head, range.count);
	mailbox_seal(key, buf_slice(&head), &found->pos, bytes, &m->item);
	m->item_pos = found->pos;
	return 1;
}

/* Walks again from that arrival on. */
static void go_back(struct mailbox *m, uint64_t arrival)
{
	if (arrival <= m->cursor)
		m->cursor = arrival - 1;
}

/* Whether to walk once more, for what has become ripe. */
static bool turn(struct mailbox *m, uint64_t now_ms)
{
	const uint64_t delays[] = {
		[MAILBOX_LATER_OWN] = MAILBOX_SPARE_MS,
		[MAILBOX_LATER_FOREIGN] = m->foreign_wait_ms,
	};
	bool again = false;

	for (size_t i = 0; i < MAILBOX_LATER_COUNT; i++) {
		struct later *l = &m->later[i];

		if (l->ripe) {
			*l = (struct later){.from = l->next,
					    .due_ms = l->next ? now_ms + delays[i] : 0};
		} else if (l->from && l->due_ms == 0) {
			l->due_ms = now_ms + delays[i];
		} else if (l->from && now_ms >= l->due_ms) {
			go_back(m, l->from);
			l->ripe = true;
			again = true;
		}
	}
	return again;
}

/* Whether what was found is put later, which is noted. */
static bool is_left(struct mailbox *m, const struct feed_item *found)
{
	bool own = found->pos.actor == db_actor(m->db);
	struct later *l = &m->later[own ? MAILBOX_LATER_OWN : MAILBOX_LATER_FOREIGN];

	if (own && !m->spare)
		return false;
	if (l->ripe) {
		if (own || !m->leaves || !m->leaves(m->leaves_ctx, found->pos.actor))
			return false;
		l->next = l->next ? l->next : m->cursor;
	} else if (!l->from || m->cursor < l->from) {
		l->from = m->cursor;
	}
	return true;
}

void mailbox_set_spare(struct mailbox *m, bool spare)
{
	struct later *own = &m->later[MAILBOX_LATER_OWN];

	if (m->spare && !spare && own->from) {
		go_back(m, own->from);
		*own = (struct later){0};
	}
	m->spare = spare;
}

/* What the place holds of the streams that the others need first; all of the others, as if it held them. Caller frees. */
static size_t held_but_auth(const struct mailbox *m, struct feed_pos **ret, bool *ret_lacks)
{
	size_t n = db_have(m->db, ret);

	*ret_lacks = false;
	for (size_t i = 0; i < n; i++) {
		struct feed_pos *p = &(*ret)[i];

		if (!id_eq(&p->stream, &m->db->auth_stream))
			continue;
		uint64_t held = feed_pos_seq(m->held, m->held_count, &p->stream, p->actor);
		*ret_lacks = *ret_lacks || held < p->seq;
		p->seq = held < p->seq ? held : p->seq;
	}
	return n;
}

/*
 * KEY EPOCH: `auth` first, whoever made it, however late it came: nobody shall meet something under a key that he could not have
 * heard of. 1, 0, or < 0.
 */
static int find_auth(struct mailbox *m)
{
	AUTO(buf_fini) struct buf bytes = {0};
	struct feed_pos *held = NULL;
	struct feed_item found;
	uint64_t generation = db_generation(m->db);
	uint64_t cursor = 0;
	bool lacks = false;
	int r = 0;

	if (m->auth_looked == generation)
		return 0;
	size_t n = held_but_auth(m, &held, &lacks);
	if (lacks)
		r = db_next_envelope(m->db, &cursor, held, n, &found, &bytes);
	free(held);
	if (r == 0)
		m->auth_looked = generation;
	return r > 0 ? prepare_item(m, &found, buf_slice(&bytes)) : r;
}

/* Finds what the place lacks. 1, 0, or < 0. */
static int find_item(struct mailbox *m, uint64_t now_ms)
{
	AUTO(buf_fini) struct buf bytes = {0};
	struct feed_item found;
	int r = db_seal(m->db);

	if (r >= 0)
		r = find_auth(m);
	if (r != 0)
		return r;
	uint64_t filled = db_snapshot_gaps_filled(m->db);

	if (filled != m->gaps_filled)
		m->cursor = 0;
	m->gaps_filled = filled;
	while (r >= 0) {
		buf_clear(&bytes);
		r = db_next_envelope(m->db, &m->cursor, m->held, m->held_count, &found, &bytes);
		if (r < 0 || (r == 0 && !turn(m, now_ms)))
			return r;
		if (r == 0)
			continue;
		if (!is_left(m, &found)) {
			buf_clear(&m->item);
			return prepare_item(m, &found, buf_slice(&bytes));
		}
	}
	return r;
}

static void ask(struct mailbox *m, struct buf *ret)
{
	size_t keys = 0;

	while (keys < MAILBOX_ASK_KEYS && keys < m->key_count) {
		m->asked_keys[keys] = mailbox_nth_key(m, keys);
		keys++;
	}
	m->asked_key_count = keys;
	m->asking = m->chunk_count - m->chunk_next;
	if (m->asking > MAILBOX_ASK_MAX / keys)
		m->asking = MAILBOX_ASK_MAX / keys;
	for (size_t i = 0; i < m->asking; i++, m->chunk_next++) {
		for (size_t k = 0; k < keys; k++) {
			struct id tag = mailbox_chunk_tag(&m->keys[m->asked_keys[k]],
							  &m->chunks[m->chunk_next]);

			id_write(ret, &tag);
		}
	}
}

static bool has_tag(struct slice tags, const struct id *tag)
{
	struct reader r = reader_init(tags);

	while (reader_left(&r) >= sizeof(*tag)) {
		struct id each = id_read(&r);

		if (id_eq(&each, tag))
			return true;
	}
	return false;
}

void mailbox_lacks(struct mailbox *m, struct slice tags)
{
	m->lacked_count = 0;
	for (size_t i = m->chunk_next - m->asking; i < m->chunk_next; i++) {
		bool lacked = true; /* under each key */

		for (size_t k = 0; k < m->asked_key_count; k++) {
			struct id tag = mailbox_chunk_tag(&m->keys[m->asked_keys[k]], &m->chunks[i]);

			lacked = lacked && has_tag(tags, &tag);
		}
		if (lacked)
			m->lacked[m->lacked_count++] = m->chunks[i];
	}
	m->asking = 0;
}

static bool next_chunk(struct mailbox *m, struct buf *ret)
{
	const struct feed_pos nobody = {0};

	while (m->lacked_count > 0) {
		AUTO(buf_fini) struct buf head = {0};
		AUTO(buf_fini) struct buf sealed = {0};
		const struct chunk_id *id = &m->lacked[--m->lacked_count];
		const struct mailbox_key *key = mailbox_current_key(m, &nobody.stream);
		struct id tag = mailbox_chunk_tag(key, id);

		if (db_chunks_send(m->db, id, &sealed) < 0)
			continue;
		mailbox_write_head(&head, MAILBOX_CHUNK, key, &tag);
		mailbox_seal(key, buf_slice(&head), &nobody, buf_slice(&sealed), ret);
		return true;
	}
	return false;
}

int mailbox_next(struct mailbox *m, uint64_t now_ms, struct buf *ret)
{
	buf_clear(ret);
	/* Nobody would take what a reader puts, and the place does not. */
	if (!m->started || m->asking > 0 || db_own_role(m->db) < MEMBER_WRITE)
		return MAILBOX_NOTHING;
	if (next_chunk(m, ret))
		return MAILBOX_PUT;
	int r = m->item.len > 0 ? 1 : find_item(m, now_ms);
	if (r <= 0)
		return r;
	if (m->chunk_next < m->chunk_count) {
		ask(m, ret);
		return MAILBOX_ASK;
	}
	buf_slice_append(ret, buf_slice(&m->item));
	mailbox_raise(m, &m->item_pos);
	forget_item(m);
	return MAILBOX_PUT;
}

uint64_t mailbox_due_ms(const struct mailbox *m)
{
	uint64_t due = UINT64_MAX;

	for (size_t i = 0; i < MAILBOX_LATER_COUNT; i++) {
		if (m->later[i].due_ms && m->later[i].due_ms < due)
			due = m->later[i].due_ms;
	}
	return due;
}
