/* core/chunk, core/manifest, core/packs: cutting, naming, keeping. Prints "ok NAME" for each test. */
#include "core/manifest.h"
#include "core/packs.h"
#include "tests/unit/check.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct chunk_keys keys;
static uint64_t seed = 1;

static uint64_t next(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static void fill(struct buf *b, size_t len)
{
	buf_clear(b);
	while (b->len < len)
		buf_be64(b, next());
	b->len = len;
}

static struct manifest *cut_all(struct slice bytes, unsigned order)
{
	struct manifest *m = manifest_create(order);

	while (bytes.len) {
		size_t n = chunk_cut(&keys, order, bytes);
		struct slice part = SLICE(bytes.data, n);
		struct chunk_id id = chunk_id_of(&keys, part);

		CHECK(n > 0 && n <= bytes.len && n <= chunk_max(order));
		CHECK(n == bytes.len || n > (size_t)1 << (order - 2));
		if (chunk_is_hole(part))
			manifest_add_hole(m, n);
		else
			manifest_add(m, &id, n);
		bytes = SLICE(bytes.data + n, bytes.len - n);
	}
	return m;
}

static size_t count_new(const struct manifest *a, const struct manifest *b)
{
	size_t n = 0;

	for (size_t i = 0; i < b->count; i++) {
		bool found = false;

		for (size_t j = 0; j < a->count && !found; j++)
			found = chunk_id_eq(&a->entries[j].id, &b->entries[i].id);
		n += !found;
	}
	return n;
}

static void test_cut(void)
{
	AUTO(buf_fini) struct buf bytes = {0};
	AUTO(buf_fini) struct buf other = {0};

	fill(&bytes, 8u << 20);
	struct manifest *m = cut_all(buf_slice(&bytes), 15);
	CHECK(m->size == bytes.len && m->count > 160 && m->count < 400); /* 256 by the average */

	buf_u8(&other, 'x');
	buf_slice_append(&other, buf_slice(&bytes));
	struct manifest *front = cut_all(buf_slice(&other), 15);
	CHECK(count_new(m, front) <= 4);

	other.data[4 << 20] ^= 1;
	struct manifest *middle = cut_all(buf_slice(&other), 15);
	CHECK(count_new(front, middle) >= 1 && count_new(front, middle) <= 4);
	manifest_unref(m);
	manifest_unref(front);
	manifest_unref(middle);

	buf_clear(&bytes);
	buf_resize(&bytes, 3u << 20);
	m = cut_all(buf_slice(&bytes), 15);
	CHECK(m->count == 1 && chunk_id_is_zero(&m->entries[0].id) && m->size == 3u << 20);
	manifest_unref(m);

	CHECK(chunk_order(0) == 15 && chunk_order(64u << 20) == 15);
	CHECK(chunk_order((64u << 20) + 1) == 16 && chunk_order(1u << 30) == 16);
	CHECK(chunk_order(MANIFEST_FILE_BYTES_MAX) == 20);
	(void)printf("ok cut\n");
}

/* What another database's member would have to guess. */
static void test_keyed(void)
{
	AUTO(buf_fini) struct buf bytes = {0};
	AUTO(buf_fini) struct buf sealed = {0};
	AUTO(buf_fini) struct buf back = {0};
	static struct chunk_keys foreign;
	const uint8_t root[DIGEST_BYTES] = {9};

	chunk_keys_init(&foreign, root);
	fill(&bytes, 1u << 20);
	struct chunk_id id = chunk_id_of(&keys, buf_slice(&bytes));
	struct chunk_id theirs = chunk_id_of(&foreign, buf_slice(&bytes));
	CHECK(!chunk_id_eq(&id, &theirs));
	CHECK(chunk_cut(&keys, 15, buf_slice(&bytes)) != chunk_cut(&foreign, 15, buf_slice(&bytes)));

	chunk_seal(&keys, &id, buf_slice(&bytes), &sealed);
	CHECK(chunk_open(&keys, &id, buf_slice(&sealed), &back) == 0);
	CHECK(slice_eq(buf_slice(&back), buf_slice(&bytes)));
	CHECK(chunk_open(&foreign, &id, buf_slice(&sealed), &back) == -EBADMSG);
	CHECK(chunk_open(&keys, &theirs, buf_slice(&sealed), &back) == -EBADMSG);
	for (int i = 0; i < 50; i++) {
		size_t at = next() % sealed.len;

		sealed.data[at] ^= 1;
		CHECK(chunk_open(&keys, &id, buf_slice(&sealed), &back) == -EBADMSG);
		sealed.data[at] ^= 1;
	}
	/* Sealed by who has the key, but not what its id says. */
	bytes.data[0] ^= 1;
	buf_clear(&sealed);
	chunk_seal(&keys, &id, buf_slice(&bytes), &sealed);
	CHECK(chunk_open(&keys, &id, buf_slice(&sealed), &back) == -EBADMSG);
	(void)printf("ok keyed\n");
}

/* ---- manifests ---------------------------------------------------------------------------------- */

/** Parts, in memory. */
struct parts {
	struct chunk_id ids[1024];
	struct buf bytes[1024];
	size_t count;
	size_t new_bytes; /**< put since somebody set it to 0 */
	size_t lost;	  /**< the part that cannot be got; SIZE_MAX = none */
};

static int get_part(void *ctx, const struct chunk_id *id, struct buf *ret)
{
	const struct parts *p = ctx;

	buf_clear(ret);
	for (size_t i = 0; i < p->count; i++) {
		if (i == p->lost || !chunk_id_eq(&p->ids[i], id))
			continue;
		buf_slice_append(ret, buf_slice(&p->bytes[i]));
		return 0;
	}
	return -ENOENT;
}

static int put_part(void *ctx, struct slice part, struct chunk_id *ret_id)
{
	struct parts *p = ctx;

	*ret_id = chunk_id_of(&keys, part);
	for (size_t i = 0; i < p->count; i++) {
		if (chunk_id_eq(&p->ids[i], ret_id))
			return 0;
	}
	CHECK(p->count < 1024);
	p->ids[p->count] = *ret_id;
	buf_slice_append(&p->bytes[p->count++], part);
	p->new_bytes += part.len;
	return 0;
}

static struct parts parts = {.lost = SIZE_MAX};
static const struct manifest_store store = {.get = get_part, .put = put_part, .ctx = &parts};

static bool same_list(const struct manifest *a, const struct manifest *b)
{
	bool same = a->size == b->size && a->count == b->count;

	for (size_t i = 0; same && i < a->count; i++)
		same = chunk_id_eq(&a->entries[i].id, &b->entries[i].id) &&
		       a->entries[i].offset == b->entries[i].offset;
	return same;
}

/* The list of a file of so many chunks, every 50th of them a hole. Chunk `other` is another one than it was. */
static struct manifest *long_list(size_t count, size_t other, size_t in_front)
{
	struct manifest *m = manifest_create(16);

	for (size_t i = 0; i < in_front + count; i++) {
		size_t n = i < in_front ? 900000 + i : i - in_front;
		uint64_t content = n == other ? n + 500000 : n;
		struct chunk_id id = chunk_id_of(&keys, SLICE(&content, sizeof(content)));

		if (n % 50 == 7)
			manifest_add_hole(m, 70000);
		else
			manifest_add(m, &id, 60000 + n % 1000);
	}
	return m;
}

/* Seals a list, reads it again, and returns how many bytes that was that were not there before. */
static size_t seal(struct manifest *m)
{
	AUTO(buf_fini) struct buf code = {0};
	struct manifest *back = NULL;

	parts.new_bytes = 0;
	CHECK(manifest_seal(m, &store) == 0);
	manifest_encode(m, &code);
	CHECK(code.len < 2048);
	CHECK(manifest_size(buf_slice(&code)) == m->size && manifest_is_sound(buf_slice(&code)));
	CHECK(manifest_decode(buf_slice(&code), &store, &back, NULL) == 0);
	CHECK(same_list(m, back) && back->part_count == m->part_count);
	manifest_unref(back);
	return parts.new_bytes + code.len;
}

static void test_small_change_of_a_large_file_is_small(void)
{
	AUTO(buf_fini) struct buf code = {0};
	struct manifest *lacking = NULL;
	struct manifest *back = NULL;
	struct manifest *first = long_list(16384, SIZE_MAX, 0);
	size_t whole = seal(first);

	CHECK(whole > 300000);
	struct manifest *other = long_list(16384, 9000, 0);
	struct manifest *moved = long_list(16384, SIZE_MAX, 3);
	size_t changed = seal(other);
	size_t front = seal(moved);
	(void)printf("# 16384 chunks: %zu bytes, one changed %zu, three in front %zu, %zu parts\n",
		     whole, changed, front, first->part_count);
	CHECK(changed < 20000 && front < 20000);
	/* Whatever part is lost, it is named, and the rest is looked at. */
	manifest_encode(first, &code);
	for (parts.lost = 0; parts.lost < first->part_count; parts.lost += 11) {
		CHECK(manifest_decode(buf_slice(&code), &store, &back, &lacking) == -ENOENT);
		CHECK(lacking->count == 1 &&
		      chunk_id_eq(&lacking->entries[0].id, &parts.ids[parts.lost]));
		manifest_unref(lacking);
	}
	parts.lost = SIZE_MAX;
	CHECK(manifest_decode(buf_slice(&code), NULL, &back, NULL) == -ENOENT);
	manifest_unref(first);
	manifest_unref(other);
	manifest_unref(moved);
	(void)printf("ok small_change_of_a_large_file_is_small\n");
}

static void test_manifest(void)
{
	AUTO(buf_fini) struct buf bytes = {0};
	AUTO(buf_fini) struct buf code = {0};
	AUTO(buf_fini) struct buf again = {0};
	struct manifest *back = NULL;

	fill(&bytes, 1u << 20);
	memset(bytes.data + 300000, 0, 500000);
	struct manifest *m = cut_all(buf_slice(&bytes), 15);
	(void)seal(m);
	CHECK(m->part_count == 0);
	manifest_encode(m, &code);
	for (uint64_t at = 0; at < m->size; at += 997) {
		size_t e = manifest_find(m, at);

		CHECK(m->entries[e].offset <= at &&
		      at - m->entries[e].offset < manifest_length(m, e));
	}
	for (size_t len = 0; len < code.len; len++)
		CHECK(!manifest_is_sound(SLICE(code.data, len)));
	for (int i = 0; i < 2000; i++) {
		size_t at = next() % code.len;
		uint8_t was = code.data[at];

		code.data[at] = (uint8_t)next();
		if (manifest_decode(buf_slice(&code), NULL, &back, NULL) == 0) {
			CHECK(manifest_seal(back, &store) == 0);
			buf_clear(&again);
			manifest_encode(back, &again);
			CHECK(slice_eq(buf_slice(&code), buf_slice(&again)));
			manifest_unref(back);
		}
		code.data[at] = was;
	}
	manifest_unref(m);
	(void)printf("ok manifest\n");
}

/* Parts that anybody may have made: too deep, too long, of the wrong level, and inside themselves they cannot be. */
static void test_hostile_parts(void)
{
	AUTO(buf_fini) struct buf part = {0};
	AUTO(buf_fini) struct buf code = {0};
	struct manifest *back = NULL;
	struct chunk_id id;

	for (unsigned level = 0; level <= MANIFEST_LEVELS_MAX + 1; level++) {
		for (int wrong = 0; wrong < 3; wrong++) {
			buf_clear(&part);
			buf_u8(&part, (uint8_t)(wrong == 1 ? 1 : 0));
			buf_varint(&part, (wrong == 2 ? 999u : 1000u) << 1);
			buf_append(&part, keys.id_key, CHUNK_ID_BYTES);
			CHECK(put_part(&parts, buf_slice(&part), &id) == 0);
			buf_clear(&code);
			buf_u8(&code, 2);
			buf_u8(&code, 15);
			buf_varint(&code, 1000);
			buf_u8(&code, (uint8_t)level);
			buf_varint(&code, 1000 << 1);
			buf_append(&code, id.b, CHUNK_ID_BYTES);
			int r = manifest_decode(buf_slice(&code), &store, &back, NULL);
			bool good = level == 0 || (level == 1 && !wrong);

			/* A part of level 1 leads to a part that is not there. */
			CHECK(good ? r == 0 : r == (level == 2 && wrong == 1 ? -ENOENT : -EBADMSG));
			if (r == 0)
				manifest_unref(back);
		}
	}
	(void)printf("ok hostile_parts\n");
}

static int flush(struct packs *p, struct store *s)
{
	struct packs_batch *b = NULL;
	int r = packs_sync(p, &b);

	if (r < 0 || !b)
		return r;
	struct store_txn *t = store_begin(s);
	packs_stage(p, b, t);
	r = store_commit(t);
	packs_settle(p, b, r == 0);
	return r;
}

static struct chunk_id put(struct packs *p, uint64_t number, int expected)
{
	AUTO(buf_fini) struct buf bytes = {0};

	seed = number * 77 + 1;
	fill(&bytes, 1000 + number % 50000);
	struct chunk_id id = chunk_id_of(&keys, buf_slice(&bytes));
	CHECK(packs_put(p, &id, buf_slice(&bytes)) == expected);
	return id;
}

static void check_has(struct packs *p, uint64_t number, bool has)
{
	AUTO(buf_fini) struct buf bytes = {0};
	AUTO(buf_fini) struct buf back = {0};

	seed = number * 77 + 1;
	fill(&bytes, 1000 + number % 50000);
	struct chunk_id id = chunk_id_of(&keys, buf_slice(&bytes));
	CHECK(packs_has(p, &id) == has);
	CHECK(packs_read(p, &id, &back) == (has ? 0 : -ENOENT));
	CHECK(!has || slice_eq(buf_slice(&back), buf_slice(&bytes)));
}

/* A damaged chunk counts as not here, also after the next start, until it is put again. */
static void test_damage_is_healed(struct packs *p, struct store *s, const struct chunk_id *id)
{
	AUTO(buf_fini) struct buf back = {0};
	AUTO(free_ptr) struct packs_damage *all = NULL;
	AUTO(free_ptr) struct packs_damage *none = NULL;

	CHECK(!packs_has(p, id) && packs_read(p, id, &back) == -EIO);
	struct store_txn *t = store_begin(s);
	packs_stage_damages(p, t);
	CHECK(store_is_dirty(t) && store_commit(t) == 0);
	t = store_begin(s);
	packs_stage_damages(p, t);
	CHECK(!store_is_dirty(t));
	store_abort(t);
	CHECK(packs_damages(p, &all) == 1 && chunk_id_eq(&all[0].id, id) && all[0].length == 1000);
	(void)put(p, 0, 1);
	CHECK(packs_read(p, id, &back) == 0 && flush(p, s) == 0);
	CHECK(packs_has(p, id) && packs_damages(p, &none) == 0);
	check_has(p, 0, true);
	(void)printf("ok damage_is_healed\n");
}

static void test_packs(void)
{
	char dir[] = "/tmp/blaze-test-packs-XXXXXX";
	struct store *s = NULL;
	struct packs *p = NULL;
	struct why why = {0};

	CHECK(mkdtemp(dir));
	CHECK(store_create(dir, &why) == 0 && store_open(dir, &s, &why) == 0);
	CHECK(packs_open(dir, s, &keys, &p) == 0);
	for (uint64_t i = 0; i < 200; i++)
		(void)put(p, i, 1);
	(void)put(p, 7, 0);
	CHECK(packs_fresh_bytes(p) > 0 && flush(p, s) == 0 && packs_fresh_bytes(p) == 0);
	(void)put(p, 7, 0);
	for (uint64_t i = 200; i < 300; i++)
		(void)put(p, i, 1);
	packs_close(p); /* as a crash: the last hundred are in no index */

	CHECK(packs_open(dir, s, &keys, &p) == 0);
	for (uint64_t i = 0; i < 300; i++)
		check_has(p, i, true);
	packs_close(p);

	/* Torn in the middle of a record: what is before it stays, what is behind it goes. */
	AUTO(free_ptr) char *path = xasprintf("%s/chunks/00000001", dir);
	int fd = open(path, O_RDWR);
	off_t end = lseek(fd, 0, SEEK_END);
	CHECK(fd >= 0 && end > 100000 && pwrite(fd, "torn", 4, end - 100000) == 4);
	CHECK(packs_open(dir, s, &keys, &p) == 0);
	check_has(p, 210, true);
	check_has(p, 299, false);
	CHECK(lseek(fd, 0, SEEK_END) <= end - 100000);
	(void)put(p, 299, 1);
	CHECK(flush(p, s) == 0);
	check_has(p, 299, true);
	packs_close(p);

	/* Damage of what is in the index is noticed. */
	CHECK(packs_open(dir, s, &keys, &p) == 0);
	struct chunk_id id = put(p, 0, 0);
	AUTO(buf_fini) struct buf back = {0};
	CHECK(pwrite(fd, "rot", 3, 100) == 3);
	CHECK(packs_read(p, &id, &back) == -EIO);
	test_damage_is_healed(p, s, &id);
	packs_close(p);
	CHECK(packs_open(dir, s, &keys, &p) == 0);
	check_has(p, 0, true);
	packs_close(p);
	(void)close(fd);
	store_close(s);
	AUTO(free_ptr) char *command = xasprintf("rm -r %s", dir);
	CHECK(system(command) == 0);
	(void)printf("ok packs\n");
}

int main(void)
{
	const uint8_t root[DIGEST_BYTES] = {1, 2, 3};

	digest_init();
	chunk_keys_init(&keys, root);
	test_cut();
	test_keyed();
	test_manifest();
	test_small_change_of_a_large_file_is_small();
	test_hostile_parts();
	for (size_t i = 0; i < parts.count; i++)
		buf_fini(&parts.bytes[i]);
	test_packs();
	return 0;
}
