/* KEY EPOCHs of a mailbox: which key an item is under, and what is tagged with it; see mailbox.h. */
#include "core/mailbox_i.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* The first bytes of the epoch's id. */
static uint64_t epoch_number(const uint8_t epoch_key[DIGEST_BYTES])
{
	struct id id = epoch_id(epoch_key);
	struct reader r = reader_init(SLICE(id.b, sizeof(id.b)));

	return reader_be64(&r);
}

void mailbox_refresh_keys(struct mailbox *m)
{
	const struct envelope_ring *ring = atomic_load(&m->db->ring);

	if (m->key_count == ring->count)
		return;
	m->keys = xreallocarray(m->keys, ring->count, sizeof(*m->keys));
	for (; m->key_count < ring->count; m->key_count++) {
		struct mailbox_key *k = &m->keys[m->key_count];
		const struct slice part = SLICE(ring->keys[m->key_count], DIGEST_BYTES);

		k->epoch = epoch_number(part.data);
		digest(k->key, "blaze mailbox key", &part, 1);
	}
}

void mailbox_keys_fini(struct mailbox *m)
{
	wipe(m->keys, m->key_count * sizeof(*m->keys));
	free(m->keys);
}

static size_t key_index(const struct mailbox *m, uint64_t epoch)
{
	size_t i = 0;

	while (i < m->key_count && m->keys[i].epoch != epoch)
		i++;
	return i;
}

const struct mailbox_key *mailbox_find_key(struct mailbox *m, uint64_t epoch)
{
	mailbox_refresh_keys(m);
	size_t i = key_index(m, epoch);
	return i < m->key_count ? &m->keys[i] : NULL;
}

/* The index of the one that new envelopes are sealed under, too. */
static size_t current_index(const struct mailbox *m)
{
	size_t i = key_index(m, epoch_number(atomic_load(&m->db->seal_key)));

	return i < m->key_count ? i : 0;
}

const struct mailbox_key *mailbox_current_key(struct mailbox *m, const struct id *stream)
{
	mailbox_refresh_keys(m);
	return &m->keys[id_eq(stream, &m->db->auth_stream) ? 0 : current_index(m)];
}

size_t mailbox_nth_key(const struct mailbox *m, size_t nth)
{
	size_t current = current_index(m);
	size_t i = m->key_count - nth;

	assert(nth < m->key_count);
	if (nth == 0)
		return current;
	return i > current ? i : i - 1;
}

/* ---- keys that are on their way ------------------------------------------------------------------ */

bool mailbox_awaits_key(const struct mailbox *m)
{
	for (size_t i = 0; i < m->awaited_count; i++) {
		if (!m->awaited[i].slot)
			return true;
	}
	return false;
}

int mailbox_await_key(struct mailbox *m, const struct mailbox_item *item)
{
	bool slot = item->kind == MAILBOX_SLOT;
	size_t i = 0;

	/* A slot may be shown before what is in the log, where the epoch is named. */
	if (!slot && !mailbox_is_waiting(m) && !epoch_is_named(m->db, item->epoch))
		return -EBADMSG;
	while (i < m->awaited_count && m->awaited[i].epoch != item->epoch)
		i++;
	if (i < m->awaited_count)
		m->awaited[i].slot = m->awaited[i].slot && slot;
	else if (i < MAILBOX_AWAITED_MAX)
		m->awaited[m->awaited_count++] =
			(struct awaited){.epoch = item->epoch, .slot = slot};
	return -ENOKEY;
}

void mailbox_await_less(struct mailbox *m)
{
	size_t kept = 0;

	for (size_t i = 0; i < m->awaited_count; i++) {
		if (m->awaited[i].slot || epoch_is_named(m->db, m->awaited[i].epoch))
			m->awaited[kept++] = m->awaited[i];
	}
	m->awaited_count = kept;
}

bool mailbox_key_came(struct mailbox *m)
{
	for (size_t i = 0; i < m->awaited_count; i++) {
		if (mailbox_find_key(m, m->awaited[i].epoch))
			return true;
	}
	return false;
}

/* ---- tags and sealing ---------------------------------------------------------------------------- */

static struct id tag_of(const struct mailbox_key *key, char kind, struct slice what)
{
	AUTO(buf_fini) struct buf text = {0};
	struct id tag;

	buf_u8(&text, (uint8_t)kind);
	buf_slice_append(&text, what);
	digest_keyed(tag.b, sizeof(tag.b), key->key, buf_slice(&text));
	return tag;
}

struct id mailbox_feed_tag(const struct mailbox_key *key, const struct id *stream, uint64_t actor)
{
	AUTO(buf_fini) struct buf what = {0};

	id_write(&what, stream);
	buf_be64(&what, actor);
	return tag_of(key, 'f', buf_slice(&what));
}

struct id mailbox_chunk_tag(const struct mailbox_key *key, const struct chunk_id *id)
{
	return tag_of(key, 'c', SLICE(id->b, sizeof(id->b)));
}

struct id mailbox_slot_tag(const struct mailbox_key *key, uint64_t actor)
{
	AUTO(buf_fini) struct buf what = {0};

	buf_be64(&what, actor);
	return tag_of(key, 's', buf_slice(&what));
}

void mailbox_write_head(struct buf *head, enum mailbox_kind kind, const struct mailbox_key *key,
			const struct id *tag)
{
	buf_u8(head, (uint8_t)kind);
	buf_be64(head, key->epoch);
	id_write(head, tag);
}

void mailbox_seal(const struct mailbox_key *key, struct slice head, const struct feed_pos *of,
		  struct slice content, struct buf *out)
{
	AUTO(buf_fini) struct buf plain = {0};

	id_write(&plain, &of->stream);
	buf_be64(&plain, of->actor);
	buf_slice_append(&plain, content);
	buf_slice_append(out, head);
	envelope_seal_piece(key->key, head, buf_slice(&plain), out);
}
