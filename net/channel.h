/*
 * The records after a handshake, sans I/O: messages in, sealed records out, and back.
 *
 * One record is one WebSocket message:
 *
 *   record    = AEAD(plaintext), 16 bytes longer; the counter is implicit, there is no additional data
 *   plaintext = frame…, then zeros up to 16 bytes (a PING alone) or a multiple of 32; at most 32 KiB
 *   frame     = varint (length * 4 + kind), length bytes
 *   kind      = 0 the padding starts here (length 0)
 *               1 part of a message, to be continued by the next frame
 *               2 the last or only part of a message
 *               3 control, ends its record. One byte: BYE, the reason; the very last frame of its direction.
 *                 More: RENEW (net/transport.h), u8 step, a handshake message
 *
 * Small messages share a record; a large one fills several, and only the last record is padded. A
 * record that was changed, repeated, moved or left out does not open, and ends the connection. A
 * connection that ends without BYE was cut off. Both sides rekey a direction after the same record:
 * whenever another 2^16 records or 1 GiB of plaintext went that way.
 */
#ifndef BLAZE_NET_CHANNEL_H
#define BLAZE_NET_CHANNEL_H

#include "net/noise.h"

#define CHANNEL_PLAIN_BYTES_MAX 32768
#define CHANNEL_RECORD_BYTES_MAX (CHANNEL_PLAIN_BYTES_MAX + NOISE_TAG_BYTES)
/** First byte of a control frame that is no BYE: 1 to this. */
#define CHANNEL_CONTROL_STEPS 3
#define CHANNEL_PADDING_BYTES 32
#define CHANNEL_SMALL_BYTES 16

enum channel_bye {
	CHANNEL_BYE_SHUTDOWN,  /**< the program ends */
	CHANNEL_BYE_DUPLICATE, /**< there is another connection */
	CHANNEL_BYE_DONE,      /**< nothing more to say */
	CHANNEL_BYE_COUNT,
};

struct channel_limits {
	uint64_t rekey_records;
	uint64_t rekey_bytes;
	size_t message_bytes_max;
};

struct channel;

/** Takes the keys and wipes them. limits NULL: those above, and SYNC_MESSAGE_BYTES_MAX. */
struct channel *channel_create(struct noise_key *send, struct noise_key *receive,
			       const struct channel_limits *limits);
void channel_destroy(struct channel *c);

/** Queues a message of at least one byte. Takes the buffer's content and leaves it empty. */
void channel_send(struct channel *c, struct buf *message);
/** Drops what is queued and says BYE. Nothing can be sent after it. */
void channel_bye(struct channel *c, enum channel_bye reason);
/**
 * Ends the next record with a control frame of two bytes or more, and uses the key from the record after it (wipes it); NULL:
 * goes on with the one it has. Not while another waits.
 */
void channel_control(struct channel *c, struct slice content, struct noise_key *send);
bool channel_control_waits(const struct channel *c);
/** The control frame that the record received last has ended with; empty: it has not. Borrowed until the next record. */
struct slice channel_received_control(const struct channel *c);
/** The next record is opened with this key; wipes it. */
void channel_receive_with(struct channel *c, struct noise_key *receive);
/** Of plain bytes either way, since the keys were new. */
uint64_t channel_byte_count(const struct channel *c);
/** Bytes queued that no record has taken up yet. */
size_t channel_pending_bytes(const struct channel *c);
/**
 * Appends the next record and returns 1; 0 when there is nothing to send. -EPROTO: counter used up.
 */
int channel_next(struct channel *c, struct buf *out);
/** Whether the BYE went out; channel_next() has nothing more to give then. */
bool channel_bye_is_sent(const struct channel *c);

/**
 * Opens a record and calls fn for every message that is complete now. The message is borrowed; fn
 * must not destroy c. -EBADMSG: not authentic or malformed. -EMSGSIZE: message above the limit.
 * -EPROTO: a record after BYE. Otherwise fn's first result < 0.
 */
int channel_receive(struct channel *c, struct slice record,
		    int (*fn)(void *ctx, struct slice message), void *ctx);
/** The reason of the peer's BYE, or -1. */
int channel_bye_received(const struct channel *c);

#endif
