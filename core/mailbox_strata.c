/* Strata that are put where a place has their envelopes: those are not needed there any more. See mailbox.h. */
#include "core/mailbox_i.h"
#include "core/stratum.h"

static bool note_next(void *ctx, struct slice key, struct slice value)
{
	struct feed_pos *at = ctx;
	struct reader k = reader_init(key);

	(void)value;
	(void)reader_u8(&k);
	const struct feed_pos next = {
		.stream = id_read(&k), .actor = reader_be64(&k), .seq = reader_be64(&k)};
	if (reader_finish(&k) == 0)
		*at = next;
	return false;
}

int mailbox_next_stratum(struct mailbox *m, struct feed_pos *at, struct id *ret_tag)
{
	AUTO(buf_fini) struct buf from = {0};
	struct feed_pos next = *at;

	mailbox_refresh_keys(m);
	strata_key(&from, &at->stream, at->actor, at->seq + 1);
	struct txn *t = db_begin(m->db);
	int r = store_scan(t->store, SLICE_STR("C"), buf_slice(&from), note_next, &next);
	db_abort(t);
	if (r < 0 || (feed_pos_cmp(&next, at) == 0 && next.seq == at->seq))
		return r;
	*at = next;
	*ret_tag = mailbox_feed_tag(mailbox_current_key(m, &at->stream), &at->stream, at->actor);
	return 1;
}

int mailbox_seal_stratum(struct mailbox *m, const struct feed_pos *at, struct buf *ret)
{
	AUTO(buf_fini) struct buf key = {0};
	AUTO(buf_fini) struct buf stored = {0};
	AUTO(buf_fini) struct buf head = {0};
	struct envelope_range range;
	const struct mailbox_key *k = mailbox_current_key(m, &at->stream);
	struct id tag = mailbox_feed_tag(k, &at->stream, at->actor);

	strata_key(&key, &at->stream, at->actor, at->seq);
	struct txn *t = db_begin(m->db);
	int r = store_get(t->store, buf_slice(&key), &stored);
	db_abort(t);
	if (r < 0)
		return r;
	if (stored.len < STRATUM_HEAD_BYTES)
		return -EIO;
	const struct slice packed =
		SLICE(stored.data + STRATUM_HEAD_BYTES, stored.len - STRATUM_HEAD_BYTES);
	if (stratum_range(packed, &range) < 0 || range.seq_first + range.count - 1 != at->seq)
		return -EIO;
	mailbox_write_head(&head, MAILBOX_STRATUM, k, &tag);
	buf_varint(&head, range.seq_first);
	buf_varint(&head, range.count);
	buf_clear(ret);
	mailbox_seal(k, buf_slice(&head), at, packed, ret);
	return 0;
}
