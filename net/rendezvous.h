/*
 * RENDEZVOUS of net/PROTOCOL.md, at the device that invites: its invitations wait at each relay, and who knocks there with the
 * code or link comes in through a lane (net/lane.h) as if it had dialled. So nothing that is said in pairing knows of relays,
 * and a relay learns of it what anybody between two devices does: who breaks off, or guesses once, is all it can be.
 *
 *     invitation waits ── WAIT ──▶ SAID ── WAITS ──▶ WAITING ── KNOCK ──▶ TALKING ── HANG_UP, either way ──▶ (gone)
 *                                   └─ WAITS, why not ─▶ REFUSED
 *
 * After the relay was away all that still wait are told to it again. One for each connection to a relay; net thread only.
 */
#ifndef BLAZE_NET_RENDEZVOUS_H
#define BLAZE_NET_RENDEZVOUS_H

#include "net/invite.h"
#include "net/lane.h"
#include "net/mail.h"

/** What all relays of a database share. */
struct rendezvous_host {
	struct invites *invites;
	/** An incoming lane; returns its user, of kind `handler`, or NULL = refused. */
	void *(*accepted)(void *ctx, struct lane *l);
	const struct lane_handler *handler;
	void *ctx;
};

struct rendezvous_options {
	const struct rendezvous_host *host;
	const struct endpoint *relay; /**< borrowed for the call, as `shown` */
	const char *shown;
	/** Says m to the relay, while it is open; m is borrowed. */
	void (*say)(void *ctx, const struct mail *m);
	/** rendezvous_fill() has something to say. */
	void (*wake)(void *ctx);
	void *ctx;
};

struct rendezvous;

struct rendezvous *rendezvous_create(const struct rendezvous_options *options);
/** After rendezvous_close(). */
void rendezvous_destroy(struct rendezvous *v);
/** The relay is open. */
void rendezvous_open(struct rendezvous *v);
/** It is gone, and all lanes with it. */
void rendezvous_close(struct rendezvous *v);
/** Invitations may have come or gone. */
void rendezvous_refresh(struct rendezvous *v);
/** WAITS, KNOCK, PASS or HANG_UP. */
int rendezvous_receive(struct rendezvous *v, const struct mail *m);
/** Says one thing that a lane has to say: 1, or 0 = nothing. */
int rendezvous_fill(struct rendezvous *v);

#endif
