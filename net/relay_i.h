/* Private to net/relay*.c: one relay, as a device sees it. */
#ifndef BLAZE_NET_RELAY_I_H
#define BLAZE_NET_RELAY_I_H

#include "net/ledger.h"
#include "net/liveness.h"
#include "net/relay.h"
#include "net/smart.h"
#include "net/transport.h"

/* A PUT: its place in the log is told by PLACED, that it is safe by a RECEIPT; either may come first. */
struct flight {
	uint64_t request;
	size_t len;
	bool in_log;
	bool safe;
	bool placed;
	uint8_t digest[DIGEST_BYTES];
};

struct relay {
	const struct relay_host *host;
	struct mailaddr address;
	enum relay_state state;
	struct ws_conn *ws;
	struct transport *transport;
	struct mailbox *mailbox;
	struct rendezvous *rendezvous; /* open while the relay is */
	struct ledger ledger;
	uint8_t sign_pk[KEYS_PK_BYTES];
	bool stopping;
	bool refused;
	uint32_t attempt;
	uint64_t away_since_ms;
	uint64_t next_dial_ms;
	uint64_t deadline_ms;

	struct flight *flights;
	size_t flight_count;
	size_t flight_bytes;
	size_t unsafe_count;
	uint64_t last_request;
	bool busy;	 /* mailbox_next() may have something */
	uint64_t looked; /* the database's generation when it last had nothing */

	uint64_t head;	/* the log's end when it was opened */
	uint64_t taken; /* durable here */
	uint64_t told;	/* what TAKEN said last of what was received */
	uint64_t taken_due_ms;
	size_t untaken_bytes;
	bool acl_checked;
	bool acl_said;	/* and not answered yet */
	bool slot_kept; /* a slot is under a key that is not here yet */
	uint64_t acl_version;
	struct id acl;
	size_t member_count;
	uint64_t gap_ms; /* what was trimmed there before we came is looked for at this time; 0 = nothing was */
	struct liveness liveness;
	struct rank rank;
	bool spare;
	uint64_t slot_ms;   /* when a slot may be put again */
	uint64_t places_ms; /* when that a log is longer is reason enough */
	uint64_t held_ms; /* it refused a PUT: nothing is put until then, and it is opened anew; 0 = it did not */
	int64_t rtt_us;
	uint64_t receipted_ms;
	uint64_t refused_items;
	uint64_t up_past;
	uint64_t down_past;

	/* SMART */
	struct smart *smart; /* as long as there is a transport that is up */
	bool reads;
	bool welcomed; /* in this connection */
	bool cert_asked;
	bool log_waits;		   /* nothing of the log is pushed before HOLD */
	uint64_t hold_ms;	   /* HOLD is said then at the latest */
	struct mailbox_feed *held; /* said in it, sorted by tag */
	size_t held_count;
	uint64_t member_at; /* db_grant_revision() for which the next is true, and 1; 0 = not looked */
	struct member_info member; /* the relay; actor 0 = it never was one */
	uint64_t stream_ms;	   /* when the stream may be opened again */
	char copy_error[160];

	char error[160];
	char said_alarm[LEDGER_TEXT_BYTES];
};

/* relay.c */
void relay_enter(struct relay *r, enum relay_state state);
/** Keeps across restarts where the log is. */
void relay_save(struct relay *r);
/** What it was caught at is said once, and kept. */
void relay_note_alarm(struct relay *r);

/* relay_smart.c */
void relay_smart_start(struct relay *r);
void relay_smart_end(struct relay *r);
/** Does what is due: brings the welcome, opens the stream, or ends it. */
void relay_smart_tick(struct relay *r, uint64_t now_ms);
/** Says what the stream has to say, while there is room. */
int relay_smart_fill(struct relay *r);
void relay_smart_info(const struct relay *r, struct relay_info *ret);
/** Whether this relay is a member now. */
bool relay_is_member(const struct relay *r);
/** OPENED, READS: whether it has a copy. */
void relay_smart_reads(struct relay *r, bool reads, struct slice why);
/** Whether the log is to wait until the copy has told what it has: OPEN. */
bool relay_smart_waits(struct relay *r);
int relay_smart_on_passed(struct relay *r, const struct mail *m);
int relay_smart_on_reads(struct relay *r, const struct mail *m);
int relay_smart_on_cert(struct relay *r, const struct mail *m);
int relay_smart_on_stream(struct relay *r, const struct mail *m);

/* relay_talk.c */
/** Whether this device may say who uses the mailbox, and who reads. */
bool relay_may_administer(const struct relay *r);
/** The connection is to end, and why; the next attempt takes its time. */
void relay_refuse(struct relay *r, const char *why);
void relay_say(struct relay *r, const struct mail *m);
/** Asks for an answer. */
void relay_ping(struct relay *r);
void relay_say_open(struct relay *r);
/** So much of the log came: TAKEN is due. */
int relay_came(struct relay *r, size_t bytes);
/** TAKEN, durably. */
int relay_say_taken(struct relay *r);
/** The slot, if it says something new. */
void relay_put_slot(struct relay *r, uint64_t now_ms);
void relay_check_acl(struct relay *r);
/** If something is trimmed there that we lack, has it filled in again by whoever has it. */
void relay_check_gap(struct relay *r, uint64_t now_ms);
/** Fetches what there is to say, while there is room. */
int relay_fill(struct relay *r);
/** A whole message of the relay; ctx is the struct relay. */
int relay_handle(void *ctx, struct slice message);

#endif
