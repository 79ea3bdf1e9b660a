/* Identifiers: comparison and text form. */
#include "core/id.h"

#include <string.h>

bool id_eq(const struct id *a, const struct id *b)
{
	return memcmp(a->b, b->b, sizeof(a->b)) == 0;
}

int id_cmp(const struct id *a, const struct id *b)
{
	return memcmp(a->b, b->b, sizeof(a->b));
}

bool id_is_zero(const struct id *a)
{
	static const struct id zero;

	return id_eq(a, &zero);
}

void id_hex(const struct id *a, char out[ID_HEX_BYTES])
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < sizeof(a->b); i++) {
		out[2 * i] = digits[a->b[i] >> 4];
		out[2 * i + 1] = digits[a->b[i] & 15];
	}
	out[2 * sizeof(a->b)] = 0;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

bool id_from_hex(const char *s, struct id *ret)
{
	struct id id;

	if (strlen(s) != 2 * sizeof(id.b))
		return false;
	for (size_t i = 0; i < sizeof(id.b); i++) {
		int hi = hex_value(s[2 * i]);
		int lo = hex_value(s[2 * i + 1]);

		if (hi < 0 || lo < 0)
			return false;
		id.b[i] = (uint8_t)(hi << 4 | lo);
	}
	*ret = id;
	return true;
}

void id_write(struct buf *b, const struct id *id)
{
	buf_append(b, id->b, sizeof(id->b));
}

struct id id_read(struct reader *r)
{
	struct id id;

	reader_copy(r, id.b, sizeof(id.b));
	return id;
}

bool opid_eq(struct opid a, struct opid b)
{
	return a.lamport == b.lamport && a.actor == b.actor;
}

int opid_cmp(struct opid a, struct opid b)
{
	if (a.lamport != b.lamport)
		return a.lamport < b.lamport ? -1 : 1;
	return (a.actor > b.actor) - (a.actor < b.actor);
}

void opid_write(struct buf *b, struct opid id)
{
	buf_be64(b, id.actor);
	buf_varint(b, id.lamport);
}

struct opid opid_read(struct reader *r)
{
	struct opid id = {.actor = reader_be64(r)};

	id.lamport = reader_varint(r);
	return id;
}
