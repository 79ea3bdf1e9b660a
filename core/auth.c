/* Operations of the stream `auth` to bytes and back. */
#include "core/auth.h"

#include <string.h>

#define CUT_BYTES (16 + 8)
#define SEALED_BYTES (8 + AUTH_SEALED_BYTES)
#define GRANT_BYTES (16 + AUTH_SEALED_BYTES)

static void put_list(struct buf *out, struct slice list, size_t each)
{
	assert(list.len % each == 0);
	buf_varint(out, list.len / each);
	buf_slice_append(out, list);
}

static struct slice take_list(struct reader *r, size_t each)
{
	uint64_t count = reader_varint_max(r, AUTH_BYTES_MAX / each);

	return reader_take(r, (size_t)count * each);
}

void auth_encode(const struct auth_op *op, struct buf *out)
{
	buf_u8(out, (uint8_t)op->kind);
	switch (op->kind) {
	case AUTH_MEMBER:
		buf_bytes(out, op->cert);
		buf_u8(out, (uint8_t)op->role);
		id_write(out, &op->epoch);
		break;
	case AUTH_REMOVE:
		buf_be64(out, op->device);
		put_list(out, op->cuts, CUT_BYTES);
		break;
	case AUTH_EPOCH:
		id_write(out, &op->epoch);
		put_list(out, op->parents, 16);
		put_list(out, op->sealed, SEALED_BYTES);
		break;
	case AUTH_WITNESS:
		assert(op->cuts.len == CUT_BYTES);
		buf_be64(out, op->device);
		buf_slice_append(out, op->cuts);
		break;
	case AUTH_SETTING:
		buf_bytes(out, op->name);
		buf_bytes(out, op->value);
		break;
	case AUTH_SHARE:
		assert(op->sealed.len == SEALED_BYTES);
		id_write(out, &op->epoch);
		buf_slice_append(out, op->sealed);
		break;
	case AUTH_ACCOUNT:
		assert(op->signature.len == KEYS_SIGNATURE_BYTES);
		buf_bytes(out, op->inner);
		buf_slice_append(out, op->signature);
		break;
	case AUTH_ROLE:
		buf_be64(out, op->device);
		buf_u8(out, (uint8_t)op->role);
		put_list(out, op->cuts, CUT_BYTES);
		break;
	case AUTH_HEARD:
		put_list(out, op->cuts, CUT_BYTES);
		break;
	case AUTH_GRANT:
		buf_be64(out, op->device);
		id_write(out, &op->collection);
		buf_bytes(out, op->name);
		put_list(out, op->sealed, GRANT_BYTES);
		break;
	case AUTH_ADOPT:
		buf_be64(out, op->device);
		id_write(out, &op->stream);
		buf_be64(out, op->first);
		put_list(out, op->adopted, AUTH_ADOPTED_BYTES);
		break;
	}
}

static int decode_role(struct reader *r, struct auth_op *op)
{
	uint8_t role = reader_u8(r);

	if (role < MEMBER_RELAY || role > MEMBER_OWNER)
		return -EBADMSG;
	op->role = (enum member_role)role;
	return 0;
}

static int decode_member(struct reader *r, struct auth_op *op)
{
	op->cert = reader_bytes(r, DEVICE_CERT_BYTES_MAX);
	int err = decode_role(r, op);
	op->epoch = id_read(r);
	return err;
}

static int decode_account(struct reader *r, struct auth_op *op)
{
	op->inner = reader_bytes(r, AUTH_BYTES_MAX);
	op->signature = reader_take(r, KEYS_SIGNATURE_BYTES);
	/* Not an ACCOUNT within an ACCOUNT. */
	uint8_t kind = op->inner.len > 0 ? op->inner.data[0] : 0;
	return kind == AUTH_MEMBER || kind == AUTH_REMOVE || kind == AUTH_ROLE ? 0 : -EBADMSG;
}

int auth_decode(struct slice value, struct auth_op *ret)
{
	struct reader r = reader_init(value);
	struct auth_op op = {.kind = (enum auth_kind)reader_u8(&r)};
	int err = 0;

	switch (op.kind) {
	case AUTH_MEMBER:
		err = decode_member(&r, &op);
		break;
	case AUTH_REMOVE:
		op.device = reader_be64(&r);
		op.cuts = take_list(&r, CUT_BYTES);
		break;
	case AUTH_EPOCH:
		op.epoch = id_read(&r);
		op.parents = take_list(&r, 16);
		op.sealed = take_list(&r, SEALED_BYTES);
		break;
	case AUTH_WITNESS:
		op.device = reader_be64(&r);
		op.cuts = reader_take(&r, CUT_BYTES);
		break;
	case AUTH_SETTING:
		op.name = reader_bytes(&r, AUTH_NAME_BYTES_MAX);
		op.value = reader_bytes(&r, AUTH_VALUE_BYTES_MAX);
		break;
	case AUTH_SHARE:
		op.epoch = id_read(&r);
		op.sealed = reader_take(&r, SEALED_BYTES);
		break;
	case AUTH_ACCOUNT:
		err = decode_account(&r, &op);
		break;
	case AUTH_ROLE:
		op.device = reader_be64(&r);
		err = decode_role(&r, &op);
		op.cuts = take_list(&r, CUT_BYTES);
		break;
	case AUTH_HEARD:
		op.cuts = take_list(&r, CUT_BYTES);
		break;
	case AUTH_GRANT:
		op.device = reader_be64(&r);
		op.collection = id_read(&r);
		op.name = reader_bytes(&r, AUTH_NAME_BYTES_MAX);
		op.sealed = take_list(&r, GRANT_BYTES);
		break;
	case AUTH_ADOPT:
		op.device = reader_be64(&r);
		op.stream = id_read(&r);
		op.first = reader_be64(&r);
		op.adopted = take_list(&r, AUTH_ADOPTED_BYTES);
		break;
	default:
		return r.bad ? -EBADMSG : -EOPNOTSUPP;
	}
	if (err < 0 || reader_finish(&r) < 0)
		return -EBADMSG;
	*ret = op;
	return 0;
}

void auth_account_text(const struct id *db, uint64_t actor, uint64_t seq, struct slice inner,
		       struct buf *out)
{
	buf_append(out, "blaze account operation", strlen("blaze account operation"));
	id_write(out, db);
	buf_be64(out, actor);
	buf_be64(out, seq);
	buf_slice_append(out, inner);
}

void auth_put_cut(struct buf *cuts, const struct id *stream, uint64_t seq)
{
	id_write(cuts, stream);
	buf_be64(cuts, seq);
}

/* The rest of the list, when something was taken off its front. */
static bool advance(struct slice *list, const struct reader *r)
{
	*list = SLICE(r->p, reader_left(r));
	return !r->bad;
}

bool auth_next_cut(struct slice *cuts, struct id *ret_stream, uint64_t *ret_seq)
{
	struct reader r = reader_init(*cuts);

	*ret_stream = id_read(&r);
	*ret_seq = reader_be64(&r);
	return advance(cuts, &r);
}

void auth_put_sealed(struct buf *sealed, uint64_t device, const uint8_t bytes[AUTH_SEALED_BYTES])
{
	buf_be64(sealed, device);
	buf_append(sealed, bytes, AUTH_SEALED_BYTES);
}

bool auth_next_sealed(struct slice *sealed, uint64_t *ret_device, const uint8_t **ret_bytes)
{
	struct reader r = reader_init(*sealed);

	*ret_device = reader_be64(&r);
	*ret_bytes = reader_take(&r, AUTH_SEALED_BYTES).data;
	return advance(sealed, &r);
}

void auth_put_grant(struct buf *sealed, const struct id *epoch,
		    const uint8_t bytes[AUTH_SEALED_BYTES])
{
	id_write(sealed, epoch);
	buf_append(sealed, bytes, AUTH_SEALED_BYTES);
}

bool auth_next_grant(struct slice *sealed, struct id *ret_epoch, const uint8_t **ret_bytes)
{
	struct reader r = reader_init(*sealed);

	*ret_epoch = id_read(&r);
	*ret_bytes = reader_take(&r, AUTH_SEALED_BYTES).data;
	return advance(sealed, &r);
}

void auth_put_adopted(struct buf *adopted, uint64_t last, const uint8_t hash[DIGEST_BYTES])
{
	buf_be64(adopted, last);
	buf_append(adopted, hash, DIGEST_BYTES);
}

bool auth_next_adopted(struct slice *adopted, uint64_t *ret_last, const uint8_t **ret_hash)
{
	struct reader r = reader_init(*adopted);

	*ret_last = reader_be64(&r);
	*ret_hash = reader_take(&r, DIGEST_BYTES).data;
	return advance(adopted, &r);
}
