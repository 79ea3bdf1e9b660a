/* Files of a folder relay, what several of them hold together, and what is left to the device that made it. */
#include "tests/unit/cores.h"

#include "core/mailbox.h"
#include "net/folder_i.h"
#include "net/segment.h"

static void add_item(struct buf *out, enum mailbox_kind kind, uint8_t tag, uint64_t first,
		     uint64_t count)
{
	struct id id = {{tag}};

	buf_clear(out);
	buf_u8(out, (uint8_t)kind);
	buf_be64(out, 12345);
	id_write(out, &id);
	if (kind == MAILBOX_ENVELOPE || kind == MAILBOX_STRATUM) {
		buf_varint(out, first);
		buf_varint(out, count);
	}
	buf_resize(out, out->len + 80 + tag);
}

/* A written one is read as it was meant; one with any bit changed is not, and none that is cut off. */
static void test_file(struct side *side)
{
	struct buf items[3] = {{0}};
	struct slice slices[3];
	AUTO(buf_fini) struct buf file = {0};
	struct segment s = {.mailbox = {{1}}, .writer = {{2}}, .number = 3};
	struct segment read = {0};
	const uint8_t *pk = keys_device(side->keys)->sign_pk;

	add_item(&items[0], MAILBOX_ENVELOPE, 5, 1000, 3);
	add_item(&items[1], MAILBOX_CHUNK, 6, 0, 0);
	add_item(&items[2], MAILBOX_STRATUM, 7, 1, 100000);
	for (size_t i = 0; i < 3; i++)
		slices[i] = buf_slice(&items[i]);
	segment_encode(&s, side->keys, slices, 3, &file);
	assert(segment_decode(buf_slice(&file), file.len, &read) == 0);
	assert(read.count == 3 && read.number == 3 && read.size == file.len);
	assert(segment_is_signed(read.text, read.signature, pk));
	assert(segment_is_whole(&read, buf_slice(&file)));
	for (size_t i = 0; i < 3; i++) {
		AUTO(buf_fini) struct buf item = {0};

		segment_item(&read.items[i],
			     SLICE(file.data + read.items[i].offset, read.items[i].len), &item);
		assert(slice_eq(buf_slice(&item), slices[i]));
	}
	segment_fini(&read);
	for (size_t bit = 0; bit < 8 * file.len; bit++) {
		file.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		if (segment_decode(buf_slice(&file), file.len, &read) == 0) {
			assert(!segment_is_signed(read.text, read.signature, pk) ||
			       !segment_is_whole(&read, buf_slice(&file)));
			segment_fini(&read);
		}
		file.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	for (size_t len = 0; len < file.len; len++)
		assert(segment_decode(SLICE(file.data, len), len, &read) == -EBADMSG);
	segment_fini(&s);
	for (size_t i = 0; i < 3; i++)
		buf_fini(&items[i]);
}

/* As if a file had been read that holds this range of the feed with that tag. */
static struct folder_file *hold(struct folder_index *x, const char *path, uint8_t tag,
				uint64_t first, uint64_t last)
{
	struct segment s = {.count = 1, .number = first, .items = xcalloc(1, sizeof(*s.items))};
	struct folder_file *file = folder_index_add(x, path);

	s.items[0] = (struct segment_item){
		.kind = MAILBOX_ENVELOPE, .tag = {{tag}}, .first = first, .count = last - first + 1};
	folder_index_set(x, file, &s);
	file->own = file->known = file->whole = true;
	return file;
}

static uint64_t held(struct folder_index *x, uint8_t tag)
{
	AUTO(free_ptr) struct mailbox_range *ranges = NULL;
	size_t n = folder_index_have(x, NULL, 0, &ranges);

	for (size_t i = 0; i < n; i++) {
		if (ranges[i].tag.b[0] == tag && ranges[i].first == 1)
			return ranges[i].last;
	}
	return 0;
}

static void test_index(void)
{
	struct folder_index x = {0};
	struct segment_item waiting = {
		.kind = MAILBOX_ENVELOPE, .tag = {{9}}, .first = 1, .count = 4};

	struct folder_file *b = hold(&x, "b", 9, 5, 9);
	assert(held(&x, 9) == 0); /* what comes before is missing */
	AUTO(free_ptr) struct mailbox_range *ranges = NULL;
	assert(folder_index_have(&x, &waiting, 1, &ranges) == 2);
	assert(ranges[0].first == 5 && ranges[0].last == 9);
	assert(ranges[1].first == 1 && ranges[1].last == 4);
	struct folder_file *a = hold(&x, "a", 9, 1, 6);
	(void)hold(&x, "c", 9, 11, 12);
	(void)hold(&x, "d", 8, 1, 2);
	assert(held(&x, 9) == 9 && held(&x, 8) == 2 && held(&x, 7) == 0);
	b->known = false;
	x.version++;
	assert(held(&x, 9) == 6);
	b->known = true;
	x.version++;
	b->items[0].bad = true;
	x.version++;
	assert(held(&x, 9) == 6);
	folder_index_remove(&x, b);
	assert(held(&x, 9) == 6 && !folder_index_find(&x, "b"));
	assert(folder_index_spare(&x, a) == FOLDER_NEEDED);
	struct folder_file *all = hold(&x, "e", 9, 1, 20);
	assert(folder_index_spare(&x, a) == FOLDER_NEEDED); /* the other one is not newer */
	all->number = 99;
	x.version++;
	assert(folder_index_spare(&x, a) == FOLDER_COPIED &&
	       folder_index_spare(&x, all) == FOLDER_NEEDED);
	/* A stratum stands for the envelopes in it, and for no part of one. */
	all->items[0].i.kind = MAILBOX_STRATUM;
	x.version++;
	assert(folder_index_spare(&x, a) == FOLDER_FOLDED);
	assert(folder_index_is_folded(&x, a, &a->items[0]));
	const struct id tag = {{9}};
	assert(folder_index_count_foldable(&x, &tag, 0, 20) == 0); /* it is there */
	assert(folder_index_count_foldable(&x, &tag, 0, 12) == 2);
	assert(folder_index_count_foldable(&x, &tag, 0, 11) == 1);
	assert(folder_index_count_foldable(&x, &tag, 1, 12) == 1);
	all->missing_ms = 1;
	assert(folder_index_spare(&x, a) == FOLDER_NEEDED);
	all->missing_ms = 0;
	all->whole = false;
	assert(folder_index_spare(&x, a) == FOLDER_NEEDED);
	folder_index_fini(&x);
}

static void make_node(struct side *s, const char *name)
{
	struct txn *t = db_begin(s->db);
	struct id root = db_root(s->db);
	struct id node;

	(void)db_new_id(t, &root, name, NODE_RECORD, 0, &node);
	assert(db_put_node(t, &node, NODE_RECORD, &root, name) >= 0);
	assert(db_put_content(t, &node, NULL, SLICE_STR("text\n")) >= 0);
	assert(db_commit(t) == 0);
	assert(db_seal(s->db) == 0);
}

static bool leave(void *ctx, uint64_t actor)
{
	(void)actor;
	return *(bool *)ctx;
}

static size_t put_all(struct mailbox *m, uint64_t now_ms)
{
	AUTO(buf_fini) struct buf item = {0};
	size_t n = 0;

	while (mailbox_next(m, now_ms, &item) == MAILBOX_PUT)
		n++;
	return n;
}

/* What others made is put when they do not, at once or later; and all is put again that the place has no more. */
static void test_patience(void)
{
	struct side sides[2];
	bool left = true;

	family(sides, 2, 2);
	make_node(&sides[0], "x");
	make_node(&sides[0], "y");
	(void)talk(&sides[0], &sides[1]);
	struct mailbox *m = mailbox_create(sides[1].db, 7);
	mailbox_be_patient(m, 100, leave, &left);
	assert(mailbox_start(m, SLICE("", 0)) == 0);
	size_t own = put_all(m, 1);
	assert(mailbox_due_ms(m) == 101);
	assert(put_all(m, 100) == 0 && put_all(m, 101) == 0); /* ripe, and left to its maker */
	assert(mailbox_due_ms(m) == 201);
	left = false;
	assert(put_all(m, 150) == 0);
	size_t foreign = put_all(m, 201);
	assert(foreign >= 2 && mailbox_due_ms(m) == UINT64_MAX);
	assert(put_all(m, 1000) == 0);
	mailbox_holds(m, NULL, 0);
	assert(put_all(m, 1001) == own && mailbox_due_ms(m) == 1101);
	assert(put_all(m, 1101) == foreign);
	mailbox_destroy(m);
	side_destroy(&sides[0]);
	side_destroy(&sides[1]);
}

int main(void)
{
	const char *tmp = getenv("TMPDIR");
	struct side side;

	digest_init();
	(void)snprintf(base, sizeof(base), "%s/blaze-segment-XXXXXX", tmp ? tmp : "/tmp");
	assert(mkdtemp(base));
	family(&side, 1, 1);
	test_file(&side);
	side_destroy(&side);
	test_index();
	test_patience();
	assert(nftw(base, remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0);
	return 0;
}
