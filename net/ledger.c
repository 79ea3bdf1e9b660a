/* The chain of a relay's log, computed again and compared. */
#include "net/ledger.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define LEDGER_VERSION "1"

static void hex(struct buf *out, const uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		buf_printf(out, "%02x", bytes[i]);
}

static int nibble(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool unhex(const char *text, uint8_t *ret, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		int high = nibble(text[2 * i]);
		int low = high < 0 ? -1 : nibble(text[2 * i + 1]);

		if (low < 0)
			return false;
		ret[i] = (uint8_t)(high * 16 + low);
	}
	return text[2 * len] == 0;
}

static void remember(struct ledger *l)
{
	size_t i = l->cursor % LEDGER_CHAINS;

	l->past[i].cursor = l->cursor;
	memcpy(l->past[i].chain, l->chain, sizeof(l->chain));
}

static const uint8_t *chain_at(const struct ledger *l, uint64_t cursor)
{
	size_t i = cursor % LEDGER_CHAINS;

	return cursor > 0 && cursor <= l->cursor && l->past[i].cursor == cursor ? l->past[i].chain
										: NULL;
}

static void begin(struct ledger *l, const struct id *log, uint64_t cursor,
		  const uint8_t chain[DIGEST_BYTES])
{
	memset(l->past, 0, sizeof(l->past));
	l->log = *log;
	l->cursor = cursor;
	memcpy(l->chain, chain, sizeof(l->chain));
	l->proven = cursor;
	l->receipted = 0;
	memcpy(l->proven_chain, chain, sizeof(l->proven_chain));
	l->said.cursor = 0;
	remember(l);
}

void ledger_decode(struct ledger *l, const char *text)
{
	char log[2 * sizeof(struct id) + 1];
	char chain_text[2 * DIGEST_BYTES + 1];
	uint8_t chain[DIGEST_BYTES];
	struct id id;
	uint64_t cursor;
	uint64_t slots;
	int end = 0;

	*l = (struct ledger){0};
	if (sscanf(text, LEDGER_VERSION " %32[0-9a-f] %" SCNu64 " %64[0-9a-f] %" SCNu64 "%n", log,
		   &cursor, chain_text, &slots, &end) != 4 ||
	    !unhex(log, id.b, sizeof(id.b)) || !unhex(chain_text, chain, sizeof(chain)))
		return;
	begin(l, &id, cursor, chain);
	l->slots = slots;
	if (text[end] == ' ')
		(void)snprintf(l->alarm, sizeof(l->alarm), "%s", text + end + 1);
}

void ledger_encode(const struct ledger *l, struct buf *out)
{
	buf_printf(out, LEDGER_VERSION " ");
	hex(out, l->log.b, sizeof(l->log.b));
	buf_printf(out, " %" PRIu64 " ", l->proven);
	hex(out, l->proven_chain, sizeof(l->proven_chain));
	buf_printf(out, " %" PRIu64, l->slots);
	if (l->alarm[0])
		buf_printf(out, " %s", l->alarm);
}

int ledger_open(struct ledger *l, const struct mail *o)
{
	bool same = id_eq(&l->log, &o->log);
	uint64_t promised = l->receipted > l->proven ? l->receipted : l->proven;

	if (same && o->cursor < promised)
		(void)snprintf(l->alarm, sizeof(l->alarm),
			       "it has lost what it gave receipts for: its log ends at %" PRIu64
			       ", not at %" PRIu64 " or later",
			       o->cursor, promised);
	else if (same && o->first == l->proven &&
		 memcmp(o->chain, l->proven_chain, sizeof(o->chain)) != 0)
		(void)snprintf(l->alarm, sizeof(l->alarm),
			       "it shows another log than before, at place %" PRIu64, o->first);
	else if (same && o->first == l->proven) {
		l->cursor = l->proven;
		memcpy(l->chain, l->proven_chain, sizeof(l->chain));
		remember(l);
		return 0;
	}
	if (!same)
		l->slots = 0;
	begin(l, &o->log, o->first, o->chain);
	return 1;
}

int ledger_next(struct ledger *l, uint64_t cursor, const uint8_t item_digest[DIGEST_BYTES])
{
	if (cursor != l->cursor + 1)
		return -EBADMSG;
	mail_chain(l->chain, cursor, item_digest, l->chain);
	l->cursor = cursor;
	remember(l);
	return 0;
}

static void check(struct ledger *l, uint64_t cursor, const uint8_t chain[DIGEST_BYTES],
		  const char *whose)
{
	const uint8_t *ours = chain_at(l, cursor);

	if (ours && memcmp(ours, chain, DIGEST_BYTES) != 0)
		(void)snprintf(l->alarm, sizeof(l->alarm),
			       "it shows %s another log than this device, at place %" PRIu64, whose,
			       cursor);
}

int ledger_receipt(struct ledger *l, const struct mail *receipt, uint64_t taken)
{
	check(l, receipt->cursor, receipt->chain, "in its receipts");
	if (receipt->cursor > l->receipted)
		l->receipted = receipt->cursor;
	uint64_t least = receipt->cursor < taken ? receipt->cursor : taken;
	const uint8_t *chain = chain_at(l, least);
	if (!chain || least <= l->proven)
		return 0;
	l->proven = least;
	memcpy(l->proven_chain, chain, sizeof(l->proven_chain));
	return 1;
}

void ledger_compare(struct ledger *l, const struct mailbox_log *other, uint64_t now_ms)
{
	if (!id_eq(&other->log, &l->log))
		return;
	if (other->cursor <= l->cursor) {
		check(l, other->cursor, other->chain, "another device");
	} else if (l->said.cursor == 0) {
		l->said = *other;
		l->said_ms = now_ms;
	}
}

void ledger_tick(struct ledger *l, uint64_t now_ms, uint64_t patience_ms)
{
	if (l->said.cursor == 0)
		return;
	if (l->said.cursor <= l->cursor) {
		check(l, l->said.cursor, l->said.chain, "another device");
		l->said.cursor = 0;
	} else if (now_ms - l->said_ms >= patience_ms) {
		(void)snprintf(l->alarm, sizeof(l->alarm),
			       "it keeps back what it has shown to another device: %" PRIu64
			       " and not only %" PRIu64 " places",
			       l->said.cursor, l->cursor);
		l->said.cursor = 0;
	}
}
