/*
 * Identifiers.
 *
 * struct id: 128 bits, for nodes, streams and databases. A device is known by its 64-bit actor number
 * inside changes: the first eight bytes (big-endian) of its 256-bit device id (core/keys.h). An
 * operation is known by (lamport, actor).
 */
#ifndef BLAZE_CORE_ID_H
#define BLAZE_CORE_ID_H

#include "core/bytes.h"

struct id {
	uint8_t b[16];
};

struct opid {
	uint64_t lamport; /**< 0 = none */
	uint64_t actor;
};

#define ID_HEX_BYTES 33

bool id_eq(const struct id *a, const struct id *b);
int id_cmp(const struct id *a, const struct id *b);
bool id_is_zero(const struct id *a);
/** out: 32 lower-case hex digits and NUL. */
void id_hex(const struct id *a, char out[ID_HEX_BYTES]);
/** false unless s is exactly 32 hex digits. */
bool id_from_hex(const char *s, struct id *ret);
void id_write(struct buf *b, const struct id *id);
struct id id_read(struct reader *r);

bool opid_eq(struct opid a, struct opid b);
/** Lamport, then actor: the total order of operations. */
int opid_cmp(struct opid a, struct opid b);
/** 8 bytes actor, varint lamport. */
void opid_write(struct buf *b, struct opid id);
struct opid opid_read(struct reader *r);

#endif
