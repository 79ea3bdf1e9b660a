/*
 * LANE of net/PROTOCOL.md: one conversation with a device, from HELLO to BYE, about one database or one invitation. What
 * net/conn.h speaks through. Lanes of several databases share a connection (net/trunk.h), which is this process's own, or
 * that of another mount of the same home (net/rider.h): no difference here. Net thread only.
 */
#ifndef BLAZE_NET_LANE_H
#define BLAZE_NET_LANE_H

#include "net/endpoint.h"

#include "core/digest.h"

/** One at a time, and how many of them may still wait for somebody here to take them. */
#define LANE_COUNT_MAX 64
#define LANE_OFFERS_MAX 8

/** `user` belongs to the lane. None of these is called from within a function of this header. */
struct lane_handler {
	/** A dialled lane is open. */
	void (*connected)(void *user);
	/** A whole message; < 0 closes. */
	int (*received)(void *user, struct slice message);
	/** As in net/ws.h, after lane_want_write(): 1 = one message was appended, 0 = nothing to send, < 0 = close. */
	int (*writable)(void *user, struct buf *out);
	/** It is gone: the last call with this user. reason: why a dial failed; "" for others. */
	void (*closed)(void *user, const char *reason);
	/** There is a better connection to this device: say BYE, and dial again. */
	void (*retired)(void *user);
};

struct lane;

struct lane_ops {
	void (*want_write)(struct lane *l);
	void (*close)(struct lane *l);
	void (*trust)(struct lane *l, const uint8_t *device);
	void (*doubt)(struct lane *l);
};

/** The beginning of what net/trunk.c and net/rider.c have. */
struct lane {
	const struct lane_ops *ops;
	const struct lane_handler *handler; /**< NULL: nobody has taken it yet */
	void *user;
	bool incoming;
	struct endpoint remote;
	uint64_t up; /**< bytes of frames, headers included */
	uint64_t down;
};

/** Asks for writable(). */
static inline void lane_want_write(struct lane *l)
{
	l->ops->want_write(l);
}

/** Closes soon; closed() follows. */
static inline void lane_close(struct lane *l)
{
	l->ops->close(l);
}

/** The peer has proven who it is; device: its id (32 bytes), NULL = somebody with an invitation. */
static inline void lane_trust(struct lane *l, const uint8_t *device)
{
	l->ops->trust(l, device);
}

/** The connection may be dead: what is dialled from now on takes another one, until something comes through this one. */
static inline void lane_doubt(struct lane *l)
{
	l->ops->doubt(l);
}

/** What is asked of trunks_dial() and rider_dial(). */
struct lane_target {
	const struct endpoint *at;
	const uint8_t *device; /**< its id; a connection that it has proven to be at the end of is used again */
	uint64_t deadline_ms; /**< for the connection, not for the handshake */
};

#endif
