/* Packing and opening strata; see stratum.h. */
#include "core/stratum.h"

#include "core/change.h"
#include "core/stratum_code.h"
#include "core/zip.h"

#include <stdlib.h>
#include <string.h>

#define VERSION 2
#define CODE_VERBATIM 0
#define CODE_COLUMNS 1
/** Of changes: what does not exceed STRATUM_BYTES, and one envelope of any size. */
#define PLAIN_BYTES_MAX ((size_t)STRATUM_BYTES + CHANGE_BYTES_MAX + (1u << 20))
/** Columns may need some more bytes than what they stand for. */
#define CODED_BYTES_MAX (PLAIN_BYTES_MAX + (16u << 20))
#define PARTS_MAX (2 * STRATUM_CHANGES)
#define ZIP_LEVEL 12

static void write_header(uint64_t seq_first, uint64_t count, struct buf *out)
{
	buf_u8(out, VERSION);
	buf_varint(out, seq_first);
	buf_varint(out, count);
}

/* In columns, if they give back the same bytes: nothing is ever deleted on trust in this code. */
static void code(uint64_t actor, struct slice changes, uint64_t count, struct buf *out)
{
	AUTO(buf_fini) struct buf columns = {0};
	AUTO(buf_fini) struct buf again = {0};

	stratum_encode(actor, changes, count, &columns);
	struct reader r = reader_init(buf_slice(&columns));
	if (stratum_decode(actor, &r, changes.len, &again) == 0 &&
	    slice_eq(buf_slice(&again), changes)) {
		buf_u8(out, CODE_COLUMNS);
		buf_slice_append(out, buf_slice(&columns));
	} else {
		buf_u8(out, CODE_VERBATIM);
		buf_slice_append(out, changes);
	}
}

void stratum_pack(const struct envelope_place *at, const struct stratum *s, struct buf *out)
{
	AUTO(buf_fini) struct buf header = {0};
	AUTO(buf_fini) struct buf plain = {0};
	AUTO(buf_fini) struct buf changes = {0};
	AUTO(buf_fini) struct buf coded = {0};
	struct envelope_place place = *at;

	assert(s->part_count > 0 && s->part_count <= PARTS_MAX);
	write_header(s->seq_first, s->count, &header);
	buf_append(&plain, at->prev, sizeof(at->prev));
	buf_append(&plain, s->signature, sizeof(s->signature));
	buf_varint(&coded, s->part_count);
	for (size_t i = 0; i < s->part_count; i++) {
		buf_varint(&coded, s->parts[i].count);
		buf_slice_append(&changes, s->parts[i].changes);
	}
	code(at->actor, buf_slice(&changes), s->count, &coded);
	zip_pack(buf_slice(&coded), ZIP_LEVEL, &plain);
	memset(place.prev, 0, sizeof(place.prev));
	buf_slice_append(out, buf_slice(&header));
	envelope_box(&place, buf_slice(&header), buf_slice(&plain), out);
}

/* Leaves the box in r. */
static int read_header(struct reader *r, struct envelope_range *ret)
{
	if (reader_u8(r) != VERSION)
		return -EBADMSG;
	ret->seq_first = reader_varint_max(r, UINT64_MAX >> 2);
	ret->count = reader_varint_max(r, 2 * STRATUM_CHANGES);
	return r->bad || ret->seq_first == 0 || ret->count == 0 ? -EBADMSG : 0;
}

int stratum_range(struct slice packed, struct envelope_range *ret)
{
	struct reader r = reader_init(packed);
	struct envelope_range range;
	int err = read_header(&r, &range);

	if (err == 0)
		*ret = range;
	return err;
}

/* Shares the changes in body out among the parts. */
static int split(struct stratum *s)
{
	struct reader r = reader_init(buf_slice(&s->body));
	uint64_t total = 0;

	for (size_t i = 0; i < s->part_count; i++) {
		struct stratum_part *p = &s->parts[i];
		const uint8_t *start = r.p;

		total += p->count;
		if (p->count == 0 || p->count > ENVELOPE_CHANGES_MAX)
			return -EBADMSG;
		for (uint64_t k = 0; k < p->count && !r.bad; k++)
			(void)reader_bytes(&r, CHANGE_BYTES_MAX);
		p->changes = SLICE(start, (size_t)(r.p - start));
	}
	return total == s->count ? reader_finish(&r) : -EBADMSG;
}

static int decode(uint64_t actor, struct slice coded, struct stratum *s)
{
	struct reader r = reader_init(coded);
	size_t n = (size_t)reader_varint_max(&r, PARTS_MAX);

	if (r.bad || n == 0 || n > s->count)
		return -EBADMSG;
	s->parts = xcalloc(n, sizeof(*s->parts));
	s->part_count = n;
	for (size_t i = 0; i < n; i++)
		s->parts[i].count = reader_varint(&r);
	uint8_t how = reader_u8(&r);
	int err = 0;
	if (how == CODE_COLUMNS)
		err = stratum_decode(actor, &r, PLAIN_BYTES_MAX, &s->body);
	else if (how == CODE_VERBATIM)
		buf_slice_append(&s->body, reader_take(&r, reader_left(&r)));
	else
		err = -EBADMSG;
	return err < 0 || r.bad ? -EBADMSG : split(s);
}

int stratum_open(const struct envelope_place *at, struct slice packed, struct stratum *ret)
{
	AUTO(buf_fini) struct buf plain = {0};
	AUTO(buf_fini) struct buf coded = {0};
	AUTO(stratum_fini) struct stratum s = {0};
	struct envelope_place place = *at;
	struct reader r = reader_init(packed);
	struct envelope_range range;
	int err = read_header(&r, &range);

	if (err < 0)
		return err;
	struct slice box = reader_take(&r, reader_left(&r));
	memset(place.prev, 0, sizeof(place.prev));
	err = envelope_unbox(&place, SLICE(packed.data, packed.len - box.len), box, &plain,
			     &s.root_key);
	if (err < 0)
		return err;
	s.seq_first = range.seq_first;
	s.count = range.count;
	struct reader p = reader_init(buf_slice(&plain));
	reader_copy(&p, s.prev, sizeof(s.prev));
	reader_copy(&p, s.signature, sizeof(s.signature));
	struct slice zipped = reader_take(&p, reader_left(&p));
	if (p.bad)
		return -EBADMSG;
	err = zip_unpack(zipped, CODED_BYTES_MAX, &coded);
	if (err == 0)
		err = decode(at->actor, buf_slice(&coded), &s);
	if (err == 0) {
		*ret = s;
		s = (struct stratum){0};
	}
	return err;
}

int stratum_verify(const struct envelope_place *at, struct stratum *s,
		   const uint8_t sign_pk[KEYS_PK_BYTES])
{
	struct envelope_place place = *at;
	uint64_t seq = s->seq_first;

	place.root_key = s->root_key;
	memcpy(place.prev, s->prev, sizeof(place.prev));
	for (size_t i = 0; i < s->part_count; i++) {
		struct stratum_part *p = &s->parts[i];

		envelope_rehash(&place, seq, p->changes, (size_t)p->count, p->hash);
		memcpy(place.prev, p->hash, sizeof(place.prev));
		seq += p->count;
	}
	return envelope_is_signed(place.prev, s->signature, sign_pk) ? 0 : -EBADMSG;
}

void stratum_fini(struct stratum *s)
{
	free(s->parts);
	buf_fini(&s->body);
	*s = (struct stratum){0};
}
