/*
 * Where `blaze` begins. The map of the project, in the order to read it:
 *
 *   cli/     what a person types
 *     main.c             this file
 *     command.[ch]       what a subcommand is, and the table of them
 *     cmd_init.c         makes a database            cmd_mount.c    mounts one, lists mounts
 *     cmd_umount.c       unmounts                    cmd_pair.c     invites a device; join.c joins; qr.* draws
 *     cmd_status.c       is it synced?               cmd_wait.c     waits until it is
 *     cmd_log.c          what was changed            cmd_version.c  versions
 *     cmd_watch.c        what happens, as it happens
 *     cmd_ping.c         how far a device is         cmd_topology.c who talks to whom; peer.* devices by name
 *     tell.[ch]          a change in words           cmd_diff.c     two versions compared
 *     cmd_deletes.c      what others deleted in bulk  cmd_devices.c  members; removing one
 *     cmd_restore.c      brings back what was        cmd_undo.c     takes back what was done
 *     cmd_conflicts.c    settles what two devices changed
 *     cmd_compact.c      packs old changes at once      cmd_relay.c   relays: added, removed, listed
 *     relay_grant.[ch]   what a relay may read
 *     cmd_petition.c, petition.h  removing a device by the recovery words
 *     cmd_adopt.c, adopt.h  taking over what a removed one made
 *     mount_helper.c     mount.blaze: the protocol of mount(8) and fstab
 *     options.[ch]       options as tables           out.[ch]       output, here or through a socket
 *     account.[ch]       recovery words on this device     cmd_recover.c  joining with them
 *     home.[ch]          $BLAZE_HOME                 show.[ch]      words for people
 *     client.[ch]        finds the database a command is about, and who serves it
 *     service.[ch]       a database opened in this process, with files layer and network
 *     daemon.[ch]        the process behind a mount: start, readiness, orderly end
 *     control.[ch]       the daemon's socket: runs commands for clients
 *     mountpoint.[ch]    directories to mount on
 *   core/    the database; starts no thread, opens no socket, knows no files
 *     db.h               the façade: open, edit, apply, observe, ask
 *       db.c             opening, lock, settings     txn.c          transactions: one batch each
 *       db_edit.c        edits made here             db_apply.c     changes made elsewhere
 *       db_query.c       questions                   changes.c      changes as they are stored
 *       tree.c, node.*   where nodes are             name.*         hostile names
 *       hold.*           bulk deletions of other devices, held for confirmation
 *       tree_dirs.c      where directories are       moves.*        their moves, undone and redone
 *       second.*         two files made under one name
 *       watch.*, txn_watch.c  what happens, for those who watch
 *       follow.*         records that were moved to another collection, and what came late for them
 *       feed.c           feeds and acknowledgements  member.*       whose feeds are accepted, and how far
 *       member_edit.c    decided here                petition.*     what the account is asked to sign
 *       member_eval.c    worked out from auth.*      epoch.*        the keys they are sealed under
 *       grant.*          who may read parts only     setting.c      what holds for all devices
 *     history*.*         what one node was, and when; what a whole tree went through
 *     past.*, when.*     the whole tree as of a time; times as people type them
 *     resolve.*          conflicts settled
 *     restore*.*         what was, brought back; what was done, taken back
 *     delta*.*           what changed between two contents, for people
 *     change*.*          what one save becomes       doc*.c         a record's content as a CRDT
 *     batch.*, intern.*  what changes in one envelope share is told once
 *       doc_edit.c       from a JSON save to operations; doc_match.c which element is which; doc_layout.c, doc_space.c
 *       doc_tree.c       new values whole            doc_place.c    where elements stand (formatting: layout, space)
 *     diff*.*            what changed in a text, what two arrays share
 *     text*.*            a text several people edit: its event graph, what is concurrent merged
 *       text_clash.c     lines that two changed    doc_clash.c, clash.*  kept, and told with both versions
 *     json.*             lossless JSON scanner       store*.c       LevelDB and the rules around it
 *     envelope.*         sealing                     sync.*         what one peer still needs
 *     chunk.*            large content in pieces     manifest.*     which pieces a file is made of
 *       packs*           where they are kept         wants.*, txn_wants.c   which are missing here
 *       collect.*        which nobody needs          chunk_set.*    ids in memory
 *     side_pack.*        logs of texts, packed
 *       import.*, db_chunks.*  into a database and out   sync_chunks.*  to and from a peer
 *     compact.*          what every living device has, and may become small
 *       strata.c         folding in the store       strata_apply.c, sync_strata.*  strata from others
 *       snapshot*.*      the state for a new device  sync_snapshot.*  and its history, to and from a peer
 *       stratum.*        many envelopes as one      stratum_code.*  changes in columns; zip.* zstd
 *     mailbox*.*         items for a relay or a folder, and from there; under which key
 *     words.*            secrets people read out     account.*      what is on paper
 *     keys.*, digest.*   identity, cryptography      status.*       what net knows about peers
 *     report.*           the verdict: "is it synced?" report_topology.*  who talks to whom; report_rate.*, rate.*  how fast
 *     flags.*            what members were caught at
 *     quarantine.*, sync_kept.*  what removed devices made and nobody had taken; adopt.* shown, and adopted
 *     topology.*         the pattern                 contact.*, sync_contacts.*  where devices are; sync_feeds.*, vv.* short names, lists
 *     platform*.*        what Linux and macOS do differently
 *     base bytes arena id idset log why thread             the ground everything stands on
 *   net/     moves messages between databases
 *     net.*              the thread; start and stop  peer.*         members: who is dialled when
 *     conn.*             one connection              transport.*    hello, handshake, records
 *     hello.* noise.* channel.*  the three of them   ws*.*          libwebsockets
 *     invite.* link.* code.* pair.* join.*  pairing  endpoint.*     addresses
 *     find.*             where a code's inviter is   cpace.*        a key of a few words
 *     path.h             ways that are no connection to a device
 *     relays.*, relay.*  relays, as a device sees them   ledger.*     what is believed of a relay's log
 *     ranking.*          which of several relays is used      smart.*, relay_smart.c  one that may read some
 *     rendezvous.*       invitations that wait at relays
 *     mail.*             what is said to a relay     mailaddr.*     a relay's address
 *     folders.*, folder*.*   relays that are directories      segment.*  the files in them
 *     local.*            sockets of this machine     routes.*       where a member may be
 *     tls.*              certificates, with OpenSSL      dnssd.*, beacon.*  services on the local network
 *     nearby.*           who of the members is there
 *     mux.*              streams of a connection     liveness.*     is it still there?
 *     attempts.*         handshakes that failed
 *     lane.h, trunk.*    many conversations, one connection    carriage.*  whose it is
 *     carrier.*, rider.* another mount's, and who goes with it   ride.*   what they say to each other
 *   fs/      shows a database as files
 *     vfs.h, vfs*.c      the mount's semantics, without FUSE
 *       ns.c             the local namespace         localname.*    what never leaves the device
 *       counts.*         what the kernel knows       due.c          what waits to be published
 *       publish.c        when bytes become a change  project.c      changes coming down
 *       publish_tree.c   whole directories, and records under another id
 *       swap.c           directories that take each other's place
 *       collector.c      chunks that nobody needs, in the background
 *       graves.c         records gone from their names   links.c   files with several names
 *       bytes.*          what is in the files        backing.*      large content, beside the store
 *       bulk.*           large content into chunks and back
 *       bases.c          what a saving program had read             program.c  what it is called
 *       quiet.c          files without opens and closes
 *       untold.*         names that the kernel takes for something else by now
 *     session.*          the FUSE session            ops*.c         FUSE's requests, one to one
 *     special*.*         .blaze/                     notify.*       what the kernel has to forget
 *     guard.*            when the daemon is killed
 *     init_patch.*       what libfuse 3.14 does not tell the kernel
 *     refusal.*          why fusermount3 will not mount
 *   tests/, scripts/     pytest, simulator, fuzz targets, benchmarks; setup, demo, test, check, bench
 *
 * Dependencies run cli → fs → core ← net ← cli.
 */
#include "cli/command.h"
#include "core/digest.h"
#include "core/log.h"
#include "net/dnssd.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

static void set_log_level(void)
{
	static const char *const names[] = {"error", "warning", "info", "debug"};
	const char *level = getenv("BLAZE_LOG");

	for (size_t i = 0; level && i < countof(names); i++) {
		if (strcmp(level, names[i]) == 0)
			log_set_level((enum log_level)i);
	}
}

static int unknown_command(struct out *out, const char *name)
{
	AUTO(free_ptr) char *shown = log_quote(name, strlen(name));
	const char *near = command_nearest(name);

	if (near)
		return out_error(out, CODE_USAGE, "no command \"%s\": did you mean blaze %s?",
				 shown, near);
	return out_error(out, CODE_USAGE, "no command \"%s\": see blaze --help", shown);
}

static int dispatch(struct out *out, int argc, char **argv)
{
	if (argc < 2)
		return out_error(out, CODE_USAGE, "which command? See blaze --help");
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
	    (strcmp(argv[1], "help") == 0 && argc == 2)) {
		command_print_all(out);
		return CODE_OK;
	}
	const char *name = strcmp(argv[1], "--version") == 0 ? "version" : argv[1];
	bool help = strcmp(name, "help") == 0;
	const struct command *c = command_find(help ? argv[2] : name);

	if (!c)
		return unknown_command(out, help ? argv[2] : name);
	if (help) {
		options_print_help(&c->usage, out);
		return CODE_OK;
	}
	return c->run(c, out, argc - 1, argv + 1);
}

int main(int argc, char **argv)
{
	const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
	const char *self = slash ? slash + 1 : argc > 0 ? argv[0] : "";
	struct out out;

	/* Writing to a peer or a client that went away, or past a file size limit, is an error code. */
	(void)signal(SIGXFSZ, SIG_IGN);
	set_log_level();
	digest_init();
	dnssd_prepare();
	if (strcmp(self, "mount.blaze") == 0 || strcmp(self, "mount.fuse.blaze") == 0)
		return mount_helper_main(argc, argv);
	out_init(&out);
	int code = dispatch(&out, argc, argv);
	out_flush(&out);
	out_fini(&out);
	return code;
}
