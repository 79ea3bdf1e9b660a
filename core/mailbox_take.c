/* Items into a database, and what devices say they hold; see mailbox.h. */
#include "core/db_chunks.h"
#include "core/mailbox_i.h"
#include "core/stratum.h"

#include <stdlib.h>
#include <string.h>

#define SLOT_VERSION 1
#define SLOT_FEEDS_MAX 65536
#define SLOT_LOGS_MAX 64

/* ---- slots --------------------------------------------------------------------------------------- */

static struct slice slot_text(struct buf *text, const struct mailbox *m, uint64_t actor,
			      struct slice body)
{
	buf_append(text, "blaze slot", strlen("blaze slot"));
	id_write(text, &m->id);
	buf_be64(text, actor);
	buf_slice_append(text, body);
	return buf_slice(text);
}

/* That a device holds what it made itself goes without saying: or each edit would be news. */
static void write_held(const struct mailbox *m, struct buf *body)
{
	struct feed_pos *durable = NULL;
	size_t n = db_durable(m->db, &durable);
	size_t kept = 0;

	for (size_t i = 0; i < n; i++) {
		if (durable[i].actor != db_actor(m->db))
			durable[kept++] = durable[i];
	}
	buf_u8(body, SLOT_VERSION);
	buf_varint(body, kept);
	for (size_t i = 0; i < kept; i++) {
		id_write(body, &durable[i].stream);
		buf_be64(body, durable[i].actor);
		buf_varint(body, durable[i].seq);
	}
	free(durable);
}

static void write_places(const struct mailbox_log *logs, size_t count, struct buf *body)
{
	buf_varint(body, count);
	for (size_t i = 0; i < count; i++) {
		id_write(body, &logs[i].log);
		buf_varint(body, logs[i].cursor);
		buf_append(body, logs[i].chain, sizeof(logs[i].chain));
	}
}

int mailbox_next_slot(struct mailbox *m, const struct mailbox_log *logs, size_t count, bool places,
		      struct buf *ret)
{
	AUTO(buf_fini) struct buf head = {0};
	AUTO(buf_fini) struct buf body = {0};
	AUTO(buf_fini) struct buf text = {0};
	const struct feed_pos self = {.actor = db_actor(m->db)};
	const struct mailbox_key *key = mailbox_current_key(m, &self.stream);
	struct id tag = mailbox_slot_tag(key, self.actor);
	uint8_t signature[KEYS_SIGNATURE_BYTES];
	uint8_t held_now[DIGEST_BYTES];
	uint8_t places_now[DIGEST_BYTES];

	write_held(m, &body);
	const struct slice held[] = {SLICE(key->key, sizeof(key->key)), buf_slice(&body)};
	digest(held_now, "blaze slot", held, countof(held));
	size_t held_len = body.len;
	write_places(logs, count, &body);
	const struct slice rest = SLICE(body.data + held_len, body.len - held_len);
	digest(places_now, "blaze slot", &rest, 1);
	if (memcmp(held_now, m->slot, sizeof(held_now)) == 0 &&
	    (!places || memcmp(places_now, m->slot_places, sizeof(places_now)) == 0))
		return 0;
	memcpy(m->slot, held_now, sizeof(held_now));
	memcpy(m->slot_places, places_now, sizeof(places_now));
	keys_sign(m->db->keys, slot_text(&text, m, self.actor, buf_slice(&body)), signature);
	buf_append(&body, signature, sizeof(signature));
	mailbox_write_head(&head, MAILBOX_SLOT, key, &tag);
	buf_clear(ret);
	mailbox_seal(key, buf_slice(&head), &self, buf_slice(&body), ret);
	return 1;
}

static int take_slot_logs(struct mailbox *m, uint64_t actor, struct reader *r)
{
	struct mailbox_log logs[SLOT_LOGS_MAX];
	size_t count = (size_t)reader_varint_max(r, SLOT_LOGS_MAX);

	for (size_t i = 0; i < count; i++) {
		logs[i].log = id_read(r);
		logs[i].cursor = reader_varint(r);
		reader_copy(r, logs[i].chain, sizeof(logs[i].chain));
	}
	if (reader_finish(r) < 0)
		return -EBADMSG;
	for (size_t i = 0; m->on_log && i < count; i++)
		m->on_log(m->on_log_ctx, actor, &logs[i]);
	return 0;
}

static int take_slot(struct mailbox *m, uint64_t actor, struct slice content)
{
	AUTO(buf_fini) struct buf text = {0};
	struct device device;

	if (actor == db_actor(m->db))
		return 0;
	if (db_member(m->db, actor, &device) < 0)
		return 0; /* not known yet, or not any more */
	if (content.len < KEYS_SIGNATURE_BYTES)
		return -EBADMSG;
	struct slice body = SLICE(content.data, content.len - KEYS_SIGNATURE_BYTES);
	if (!keys_verify(device.sign_pk, slot_text(&text, m, actor, body), body.data + body.len))
		return -EBADMSG;
	struct reader r = reader_init(body);
	if (reader_u8(&r) != SLOT_VERSION)
		return 0;
	size_t count = (size_t)reader_varint_max(&r, SLOT_FEEDS_MAX);
	if (r.bad || count > reader_left(&r) / 25)
		return -EBADMSG;
	struct feed_pos *vv = xcalloc(count, sizeof(*vv));
	for (size_t i = 0; i < count; i++) {
		vv[i].stream = id_read(&r);
		vv[i].actor = reader_be64(&r);
		vv[i].seq = reader_varint(&r);
	}
	int err = r.bad ? -EBADMSG : db_set_acked(m->db, actor, vv, count);
	free(vv);
	return err < 0 ? err : take_slot_logs(m, actor, &r);
}

/* ---- taking -------------------------------------------------------------------------------------- */

bool mailbox_is_waiting(const struct mailbox *m)
{
	return m->waiting_count > 0 || m->strata.count > 0 || mailbox_awaits_key(m);
}

static int apply(struct mailbox *m, const struct id *stream, uint64_t actor, struct slice envelope)
{
	uint64_t last = 0;
	int r = db_apply_envelope(m->db, stream, actor, envelope, &last);

	return r == -EACCES ? -EAGAIN : r > 0 ? 0 : r;
}

/* Whether a result is about this item only, and the others go on. */
static bool is_of_item(int r)
{
	return r == 0 || r == -EBADMSG;
}

int mailbox_retry(struct mailbox *m)
{
	bool moved = true;
	int r = m->strata.count ? sync_strata_retry(&m->strata) : 0;

	while (r >= 0 && moved) {
		size_t kept = 0;

		moved = false;
		for (size_t i = 0; i < m->waiting_count; i++) {
			struct waiting *w = &m->waiting[i];
			int e = r < 0 ? -EAGAIN
				      : apply(m, &w->stream, w->actor, buf_slice(&w->envelope));

			if (e == -EAGAIN || !is_of_item(e)) {
				r = e == -EAGAIN ? r : e;
				m->waiting[kept++] = *w;
				continue;
			}
			moved = true;
			m->waiting_bytes -= w->envelope.len;
			buf_fini(&w->envelope);
		}
		m->waiting_count = kept;
		if (r >= 0 && moved && m->strata.count)
			r = sync_strata_retry(&m->strata);
	}
	if (m->waiting_count == 0 && m->strata.count == 0)
		mailbox_await_less(m);
	return r;
}

static int keep_waiting(struct mailbox *m, const struct feed_pos *pos, struct slice envelope)
{
	if (m->waiting_bytes + envelope.len > MAILBOX_WAITING_BYTES_MAX && m->waiting_count > 0)
		return -ENOBUFS;
	m->waiting = xreallocarray(m->waiting, m->waiting_count + 1, sizeof(*m->waiting));
	struct waiting *w = &m->waiting[m->waiting_count++];
	*w = (struct waiting){.stream = pos->stream, .actor = pos->actor};
	buf_slice_append(&w->envelope, envelope);
	m->waiting_bytes += envelope.len;
	return 0;
}

static int take_envelope(struct mailbox *m, const struct feed_pos *pos, struct slice envelope)
{
	int r = apply(m, &pos->stream, pos->actor, envelope);

	if (r == -EAGAIN)
		return keep_waiting(m, pos, envelope);
	return r < 0 || !mailbox_is_waiting(m) ? r : mailbox_retry(m);
}

static int take_stratum(struct mailbox *m, const struct feed_pos *pos, struct slice packed)
{
	struct feed_pos at = *pos;
	int r = sync_strata_receive(&m->strata, m->db, packed, &at);

	if (r == -EAGAIN)
		return -ENOBUFS;
	return r < 0 || !mailbox_is_waiting(m) ? r : mailbox_retry(m);
}

static int take_of_feed(struct mailbox *m, const struct mailbox_item *item, struct feed_pos *pos,
			struct slice content)
{
	bool packed = item->kind == MAILBOX_STRATUM;
	struct envelope_range range;
	struct id tag = mailbox_feed_tag(mailbox_find_key(m, item->epoch), &pos->stream, pos->actor);

	if (!id_eq(&tag, &item->tag) ||
	    (packed ? stratum_range(content, &range) : envelope_range(content, &range)) < 0 ||
	    range.seq_first != item->seq_first || range.count != item->count)
		return -EBADMSG;
	pos->seq = range.seq_first + range.count - 1;
	/* A tag may begin anywhere: what leaves a gap says nothing of what is before it. */
	if (range.seq_first <= feed_pos_seq(m->held, m->held_count, &pos->stream, pos->actor) + 1)
		mailbox_raise(m, pos);
	m->lacking_count = 0; /* who put this may have put chunks, too */
	return packed ? take_stratum(m, pos, content) : take_envelope(m, pos, content);
}

static int take_chunk(struct mailbox *m, const struct id *tag, struct slice content)
{
	for (size_t i = 0; i < m->wanted_count; i++) {
		if (!id_eq(&m->wanted[i].tag, tag))
			continue;
		struct chunk_id id = m->wanted[i].id;

		m->wanted[i] = m->wanted[--m->wanted_count];
		int r = db_chunks_arrived(m->db, &id, content);
		return r > 0 ? 0 : r;
	}
	return 0; /* nobody asked for it */
}

int mailbox_take(struct mailbox *m, struct slice bytes)
{
	AUTO(buf_fini) struct buf plain = {0};
	struct mailbox_item item;
	int r = mailbox_item_decode(bytes, &item);

	if (r < 0)
		return r;
	const struct mailbox_key *key = mailbox_find_key(m, item.epoch);
	if (!key)
		return mailbox_await_key(m, &item);
	r = envelope_open_piece(key->key, item.head, item.sealed, &plain);
	if (r < 0)
		return r;
	struct reader reader = reader_init(buf_slice(&plain));
	struct feed_pos pos = {.stream = id_read(&reader), .actor = reader_be64(&reader)};
	struct slice content = reader_take(&reader, reader_left(&reader));
	if (reader.bad)
		return -EBADMSG;
	if (item.kind == MAILBOX_CHUNK)
		return take_chunk(m, &item.tag, content);
	if (item.kind != MAILBOX_SLOT)
		return take_of_feed(m, &item, &pos, content);
	struct id tag = mailbox_slot_tag(key, pos.actor);
	return id_eq(&tag, &item.tag) ? take_slot(m, pos.actor, content) : -EBADMSG;
}

/* ---- chunks -------------------------------------------------------------------------------------- */

size_t mailbox_want_chunks(struct mailbox *m, struct buf *ret)
{
	struct chunk_id ids[MAILBOX_ASKED_MAX];
	const struct wants_asking a = {
		.peer = m->place,
		.lacked = m->lacking,
		.lacked_count = m->lacking_count,
		.count_max = MAILBOX_ASKED_MAX - m->wanted_count,
		.bytes_max = 4u << 20,
	};

	size_t again = 0;

	for (size_t i = 0; i < m->wanted_count; i++) {
		if (!m->wanted[i].again)
			continue;
		m->wanted[i].again = false;
		id_write(ret, &m->wanted[i].tag);
		again++;
	}
	if (m->wanted_count > MAILBOX_ASKED_MAX / 2)
		return again;
	size_t n = db_chunks_ask(m->db, &a, ids);
	mailbox_refresh_keys(m);
	for (size_t i = 0; i < n; i++) {
		struct asked *w = &m->wanted[m->wanted_count++];

		*w = (struct asked){.id = ids[i]};
		w->tag = mailbox_chunk_tag(&m->keys[mailbox_nth_key(m, 0)], &ids[i]);
		id_write(ret, &w->tag);
	}
	return again + n;
}

/* It may be there under an older key; else others have to put it. */
static void lacked(struct mailbox *m, size_t i)
{
	struct asked *w = &m->wanted[i];

	if (w->nth + 1 < m->key_count) {
		w->tag = mailbox_chunk_tag(&m->keys[mailbox_nth_key(m, ++w->nth)], &w->id);
		w->again = true;
		return;
	}
	uint64_t serial = db_chunks_lacked(m->db, m->place, &m->wanted[i].id);

	m->wanted[i] = m->wanted[--m->wanted_count];
	if (serial == 0)
		return;
	m->lacking = xreallocarray(m->lacking, m->lacking_count + 1, sizeof(*m->lacking));
	m->lacking[m->lacking_count++] = serial;
}

void mailbox_chunks_lacked(struct mailbox *m, struct slice tags)
{
	struct reader r = reader_init(tags);

	while (reader_left(&r) >= sizeof(struct id)) {
		struct id tag = id_read(&r);

		for (size_t i = 0; i < m->wanted_count; i++) {
			if (id_eq(&m->wanted[i].tag, &tag)) {
				lacked(m, i);
				break;
			}
		}
	}
}

bool mailbox_is_asking(const struct mailbox *m)
{
	return m->wanted_count > 0;
}

void mailbox_unask(struct mailbox *m)
{
	db_chunks_unask(m->db, m->place);
	m->wanted_count = 0;
	m->lacking_count = 0;
}
