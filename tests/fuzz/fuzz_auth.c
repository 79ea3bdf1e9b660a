/* core/auth.h: operations of `auth`, from any member. */
#include "core/auth.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void walk(const struct auth_op *op)
{
	struct slice cuts = op->cuts;
	struct slice sealed = op->sealed;
	const uint8_t *bytes = NULL;
	struct id id;
	uint64_t number = 0;

	while (auth_next_cut(&cuts, &id, &number))
		;
	struct slice adopted = op->adopted;
	while (auth_next_adopted(&adopted, &number, &bytes)) {
		volatile uint8_t last = bytes[DIGEST_BYTES - 1];

		(void)last;
	}
	while (op->kind == AUTH_GRANT ? auth_next_grant(&sealed, &id, &bytes)
				      : auth_next_sealed(&sealed, &number, &bytes)) {
		volatile uint8_t last = bytes[AUTH_SEALED_BYTES - 1];

		(void)last;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO(buf_fini) struct buf again = {0};
	struct auth_op op;
	struct auth_op second;

	if (auth_decode(SLICE(data, size), &op) < 0)
		return 0;
	walk(&op);
	auth_encode(&op, &again);
	if (again.len > size || auth_decode(buf_slice(&again), &second) < 0 ||
	    second.kind != op.kind || second.device != op.device ||
	    !slice_eq(second.sealed, op.sealed) || !slice_eq(second.name, op.name) ||
	    !slice_eq(second.adopted, op.adopted) || second.first != op.first)
		abort();
	return 0;
}
