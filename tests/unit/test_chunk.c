/* core/chunk, core/manifest, core/packs: cutting, naming, keeping. Prints "ok NAME" for each test. */
#include "core/manifest.h"
#include "core/packs.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHECK(x)                                                                      \
	do {                                                                          \
		if (!(x)) {                                                           \
			(void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x); \
			exit(1);                                                      \
		}                                                                     \
	} while (0)

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

static void test_manifest(void)
{
	AUTO(buf_fini) struct buf bytes = {0};
	AUTO(buf_fini) struct buf code = {0};
	AUTO(buf_fini) struct buf again = {0};
	struct manifest *back = NULL;

	fill(&bytes, 2u << 20);
	memset(bytes.data + 700000, 0, 500000);
	struct manifest *m = cut_all(buf_slice(&bytes), 15);
	manifest_encode(m, &code);
	CHECK(manifest_size(buf_slice(&code)) == bytes.len && manifest_is_sound(buf_slice(&code)));
	CHECK(manifest_decode(buf_slice(&code), &back) == 0);
	manifest_encode(back, &again);
	CHECK(slice_eq(buf_slice(&code), buf_slice(&again)));
	for (uint64_t at = 0; at < m->size; at += 997) {
		size_t e = manifest_find(m, at);

		CHECK(m->entries[e].offset <= at &&
		      at - m->entries[e].offset < manifest_length(m, e));
	}
	manifest_unref(back);
	for (size_t len = 0; len < code.len; len++)
		CHECK(!manifest_is_sound(SLICE(code.data, len)) || len == 0 || len == code.len);
	for (int i = 0; i < 2000; i++) {
		size_t at = next() % code.len;
		uint8_t was = code.data[at];

		code.data[at] = (uint8_t)next();
		if (manifest_decode(buf_slice(&code), &back) == 0) {
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

static int flush(struct packs *p, struct store *s)
{
	struct packs_batch *b = NULL;
	int r = packs_sync(p, &b);

	if (r < 0 || !b)
		return r;
	struct store_txn *t = store_begin(s);
	packs_stage(b, t);
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
	test_packs();
	return 0;
}
