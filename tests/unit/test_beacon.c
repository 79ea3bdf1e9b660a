/* net/beacon: TXT records of DNS-SD. Prints "ok NAME" for each test. */
#include "net/beacon.h"

#include "tests/unit/check.h"

#include <string.h>

static const struct id work = {{1}};
static const struct id other = {{2}};

static void key(uint8_t ret[KEYS_PK_BYTES], uint8_t who)
{
	memset(ret, who, KEYS_PK_BYTES);
}

static void add(struct buf *txt, const char *string)
{
	buf_u8(txt, (uint8_t)strlen(string));
	buf_append(txt, string, strlen(string));
}

static void test_only_members_recognise_each_other(void)
{
	struct beacon b = {.nonce = {7}};
	uint8_t a[KEYS_PK_BYTES], m[KEYS_PK_BYTES], x[KEYS_PK_BYTES];

	key(a, 'a');
	key(m, 'm');
	key(x, 'x');
	beacon_add_hint(&b, a, m, &work);
	CHECK(beacon_is_for(&b, a, m, &work));
	CHECK(!beacon_is_for(&b, m, a, &work)); /* what one says is not what the other says */
	CHECK(!beacon_is_for(&b, a, x, &work));
	CHECK(!beacon_is_for(&b, x, m, &work));
	CHECK(!beacon_is_for(&b, a, m, &other));
	b.nonce[0]++;
	CHECK(!beacon_is_for(&b, a, m, &work)); /* two records of one device have nothing in common */
}

static void test_every_size_comes_back(void)
{
	for (size_t hints = 0; hints <= BEACON_HINTS_MAX; hints++) {
		AUTO(buf_fini) struct buf txt = {0};
		struct beacon b = {.nonce = {1, 2, 3}};
		struct beacon got;

		for (size_t i = 0; i < hints; i++) {
			uint8_t a[KEYS_PK_BYTES], m[KEYS_PK_BYTES];

			key(a, 'a');
			key(m, (uint8_t)i);
			beacon_add_hint(&b, a, m, &work);
		}
		beacon_add_address(&b, "192.168.1.5:7700");
		beacon_add_address(&b, "[fd00::5]:7700");
		beacon_encode(&b, &txt);
		CHECK(txt.len < 1000); /* one packet */
		CHECK(beacon_decode(buf_slice(&txt), &got) == 0);
		CHECK(got.hint_count == hints && got.address_count == 2);
		CHECK(memcmp(got.hints, b.hints, hints * BEACON_HINT_BYTES) == 0);
		CHECK(strcmp(got.addresses[0].host, "192.168.1.5") == 0);
		CHECK(strcmp(got.addresses[1].host, "fd00::5") == 0 && got.addresses[1].port == 7700);
	}
}

static void test_more_than_there_is_room_for(void)
{
	AUTO(buf_fini) struct buf txt = {0};
	struct beacon b = {.nonce = {1}};
	struct beacon got;
	uint8_t a[KEYS_PK_BYTES];

	key(a, 'a');
	for (size_t i = 0; i < 2 * BEACON_HINTS_MAX; i++)
		beacon_add_hint(&b, a, a, &work);
	for (size_t i = 0; i < 2 * BEACON_ADDRESSES_MAX; i++)
		beacon_add_address(&b, "[fd00:1111:2222:3333:4444:5555:6666:7777]:65535");
	CHECK(b.hint_count == BEACON_HINTS_MAX && b.address_count == BEACON_ADDRESSES_MAX);
	beacon_encode(&b, &txt);
	CHECK(beacon_decode(buf_slice(&txt), &got) == 0);
	CHECK(got.hint_count == BEACON_HINTS_MAX && got.address_count == BEACON_ADDRESSES_MAX);
}

static void test_addresses_that_lead_nowhere(void)
{
	static const char *const bad[] = {
		"127.0.0.1:7700",  "[::1]:7700",    "0.0.0.0:7700", "[::]:7700",
		"host.local:7700", "192.168.1.5:0", "192.168.1.5",  ""};
	struct beacon b = {.nonce = {1}};

	for (size_t i = 0; i < countof(bad); i++)
		beacon_add_address(&b, bad[i]);
	CHECK(b.address_count == 0);
}

#define NONCE "AAECAwQFBgcICQoLDA0ODw" /* 16 bytes */

static void test_records_that_are_no_good(void)
{
	static const char *const bad[][3] = {
		{"h=" NONCE},
		{"v=1"},
		{"v=2", "h=" NONCE},
		{"v=1", "v=1", "h=" NONCE},
		{"v=1", "h=" NONCE, "h=" NONCE},
		{"v=1", "h="},
		{"v=1", "h=AAEC"},
		{"v=1", "h=" NONCE "AA"},
		{"v=1", "h=!!!!"},
		{"v=1", "h1=" NONCE},
		{"v=1", "h=" NONCE "AAAAAAAAAAA", "h1=A"},
		{"v=1", "a=1.2.3.4:5", "a=1.2.3.4:5"},
	};
	struct beacon got;

	for (size_t i = 0; i < countof(bad); i++) {
		AUTO(buf_fini) struct buf txt = {0};

		for (size_t j = 0; j < countof(bad[i]) && bad[i][j]; j++)
			add(&txt, bad[i][j]);
		CHECK(beacon_decode(buf_slice(&txt), &got) == -EBADMSG);
	}
}

static void test_what_is_not_known_is_left_out(void)
{
	AUTO(buf_fini) struct buf txt = {0};
	struct beacon got;

	add(&txt, "v=1");
	add(&txt, "");
	add(&txt, "future");
	add(&txt, "hx=1");
	add(&txt, "h=" NONCE);
	add(&txt, "a=1.2.3.4:5,nonsense,,10.0.0.1:99999,[fd00::1]:6");
	CHECK(beacon_decode(buf_slice(&txt), &got) == 0);
	CHECK(got.hint_count == 0 && got.address_count == 2);
	for (size_t cut = 1; cut < txt.len; cut++) /* no length in it is believed */
		(void)beacon_decode(SLICE(txt.data, cut), &got);
	txt.data[0] = 255;
	CHECK(beacon_decode(buf_slice(&txt), &got) == -EBADMSG);
}

int main(void)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} tests[] = {
		{"only members recognise each other", test_only_members_recognise_each_other},
		{"every size comes back", test_every_size_comes_back},
		{"more than there is room for", test_more_than_there_is_room_for},
		{"addresses that lead nowhere", test_addresses_that_lead_nowhere},
		{"records that are no good", test_records_that_are_no_good},
		{"what is not known is left out", test_what_is_not_known_is_left_out},
	};

	digest_init();
	for (size_t i = 0; i < countof(tests); i++) {
		tests[i].run();
		(void)printf("ok %s\n", tests[i].name);
	}
	return 0;
}
