/* What a folder holds, by what its files' heads say; see folder_i.h. */
#include "net/folder_i.h"

#include <stdlib.h>
#include <string.h>

static size_t position(const struct folder_index *x, const char *path)
{
	size_t lo = 0;
	size_t hi = x->count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (strcmp(x->files[mid]->path, path) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

struct folder_file *folder_index_find(const struct folder_index *x, const char *path)
{
	size_t i = position(x, path);

	return i < x->count && strcmp(x->files[i]->path, path) == 0 ? x->files[i] : NULL;
}

struct folder_file *folder_index_add(struct folder_index *x, const char *path)
{
	struct folder_file *file = xcalloc(1, sizeof(*file));
	size_t i = position(x, path);

	file->path = xstrdup(path);
	x->files = xreallocarray(x->files, x->count + 1, sizeof(struct folder_file *));
	memmove(x->files + i + 1, x->files + i, (x->count - i) * sizeof(struct folder_file *));
	x->files[i] = file;
	x->count++;
	return file;
}

static void file_free(struct folder_file *file)
{
	free(file->path);
	free(file->items);
	free(file);
}

void folder_index_remove(struct folder_index *x, struct folder_file *file)
{
	size_t i = position(x, file->path);

	assert(x->files[i] == file);
	x->count--;
	memmove(x->files + i, x->files + i + 1, (x->count - i) * sizeof(struct folder_file *));
	x->version++;
	file_free(file);
}

void folder_index_set(struct folder_index *x, struct folder_file *file, struct segment *s)
{
	free(file->items);
	file->items = xcalloc(s->count, sizeof(*file->items));
	file->count = s->count;
	for (size_t i = 0; i < s->count; i++)
		file->items[i].i = s->items[i];
	file->writer = s->writer;
	file->number = s->number;
	memcpy(file->text, s->text, sizeof(file->text));
	memcpy(file->signature, s->signature, sizeof(file->signature));
	file->good = true;
	file->foreign = false;
	file->tries = 0;
	file->spare_ms = 0;
	segment_fini(s);
	x->version++;
}

void folder_index_spoil(struct folder_index *x, struct folder_file *file)
{
	if (file->good)
		x->version++;
	file->good = false;
	file->known = false;
	file->whole = false;
	free(STEAL(file->items));
	file->count = 0;
}

void folder_index_fini(struct folder_index *x)
{
	for (size_t i = 0; i < x->count; i++)
		file_free(x->files[i]);
	free(x->files);
	free(x->places);
	*x = (struct folder_index){0};
}

static uint64_t last_of(const struct segment_item *i)
{
	return i->first + i->count - 1;
}

static int compare_places(const void *a, const void *b)
{
	const struct folder_place *x = a;
	const struct folder_place *y = b;
	const struct segment_item *i = &x->item->i;
	const struct segment_item *j = &y->item->i;
	int c = id_cmp(&i->tag, &j->tag);

	if (c == 0)
		c = (i->first > j->first) - (i->first < j->first);
	if (c == 0)
		c = (last_of(j) > last_of(i)) - (last_of(j) < last_of(i));
	if (c == 0) /* the newest file first */
		c = (y->file->number > x->file->number) - (y->file->number < x->file->number);
	return c ? c : strcmp(x->file->path, y->file->path);
}

/* Slots are not looked up. */
static void sort_places(struct folder_index *x)
{
	size_t count = 0;

	if (x->places && x->places_version == x->version)
		return;
	for (size_t i = 0; i < x->count; i++)
		count += x->files[i]->count;
	free(x->places);
	x->places = xcalloc(count, sizeof(*x->places));
	x->place_count = 0;
	for (size_t i = 0; i < x->count; i++) {
		struct folder_file *file = x->files[i];

		for (size_t j = 0; file->good && j < file->count; j++) {
			if (!file->items[j].bad && file->items[j].i.kind != MAILBOX_SLOT)
				x->places[x->place_count++] =
					(struct folder_place){file, &file->items[j]};
		}
	}
	if (x->place_count > 1)
		qsort(x->places, x->place_count, sizeof(*x->places), compare_places);
	x->places_version = x->version;
}

/* The first place whose tag is not before this one. */
static size_t tag_position(const struct folder_index *x, const struct id *tag)
{
	size_t lo = 0;
	size_t hi = x->place_count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (id_cmp(&x->places[mid].item->i.tag, tag) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

struct folder_place folder_index_chunk(struct folder_index *x, const struct id *tag,
				       const struct folder_item *after)
{
	sort_places(x);
	for (size_t i = tag_position(x, tag); i < x->place_count; i++) {
		struct folder_place p = x->places[i];

		if (!id_eq(&p.item->i.tag, tag))
			break;
		if (after) {
			after = p.item == after ? NULL : after;
			continue;
		}
		if (p.item->i.kind == MAILBOX_CHUNK && !p.item->bad)
			return p;
	}
	return (struct folder_place){0};
}

uint64_t folder_index_chunk_count(struct folder_index *x)
{
	const struct id *last = NULL;
	uint64_t n = 0;

	sort_places(x);
	for (size_t i = 0; i < x->place_count; i++) {
		const struct segment_item *item = &x->places[i].item->i;

		if (item->kind != MAILBOX_CHUNK || (last && id_eq(last, &item->tag)))
			continue;
		last = &item->tag;
		n++;
	}
	return n;
}

static bool is_of_feed(const struct segment_item *i)
{
	return i->kind == MAILBOX_ENVELOPE || i->kind == MAILBOX_STRATUM;
}

/* The places are sorted: what is next to each other, or overlaps, becomes one. */
static void add_range(struct mailbox_range *ranges, size_t *count, const struct segment_item *i)
{
	struct mailbox_range *last = *count ? &ranges[*count - 1] : NULL;

	if (last && id_eq(&last->tag, &i->tag) && i->first >= last->first &&
	    i->first <= last->last + 1)
		last->last = last_of(i) > last->last ? last_of(i) : last->last;
	else
		ranges[(*count)++] =
			(struct mailbox_range){.tag = i->tag, .first = i->first, .last = last_of(i)};
}

size_t folder_index_have(struct folder_index *x, const struct segment_item *waiting, size_t count,
			 struct mailbox_range **ret)
{
	size_t n = 0;

	sort_places(x);
	struct mailbox_range *ranges = xcalloc(x->place_count + count, sizeof(*ranges));
	for (size_t i = 0; i < x->place_count; i++) {
		const struct folder_place *p = &x->places[i];

		if (p->file->known && is_of_feed(&p->item->i))
			add_range(ranges, &n, &p->item->i);
	}
	for (size_t i = 0; i < count; i++) {
		if (is_of_feed(&waiting[i]))
			add_range(ranges, &n, &waiting[i]);
	}
	*ret = ranges;
	return n;
}

static int compare_numbers(const void *a, const void *b)
{
	const struct folder_file *x = *(struct folder_file *const *)a;
	const struct folder_file *y = *(struct folder_file *const *)b;
	int c = (x->number > y->number) - (x->number < y->number);

	return c ? c : strcmp(x->path, y->path);
}

struct folder_file **folder_index_in_order(const struct folder_index *x)
{
	struct folder_file **files = xcalloc(x->count, sizeof(struct folder_file *));

	for (size_t i = 0; i < x->count; i++)
		files[i] = x->files[i];
	if (x->count > 1)
		qsort(files, x->count, sizeof(struct folder_file *), compare_numbers);
	return files;
}

/* Whether another own file, one that is newer and whole, has this. */
static enum folder_spare find_elsewhere(const struct folder_index *x,
					const struct folder_file *file, const struct segment_item *i)
{
	enum folder_spare found = FOLDER_NEEDED;

	for (size_t p = tag_position(x, &i->tag); p < x->place_count; p++) {
		const struct folder_place *at = &x->places[p];
		const struct segment_item *j = &at->item->i;

		if (!id_eq(&j->tag, &i->tag) || j->first > i->first)
			break;
		if (!at->file->own || !at->file->known || !at->file->whole || at->file->missing_ms ||
		    at->file->number <= file->number || last_of(j) < last_of(i))
			continue;
		if (j->kind == i->kind)
			return FOLDER_COPIED;
		found = FOLDER_FOLDED;
	}
	return found;
}

enum folder_spare folder_index_spare(struct folder_index *x, const struct folder_file *file)
{
	enum folder_spare spare = file->count > 0 ? FOLDER_COPIED : FOLDER_NEEDED;

	sort_places(x);
	for (size_t i = 0; i < file->count && spare != FOLDER_NEEDED; i++) {
		enum folder_spare item = FOLDER_NEEDED;

		if (file->items[i].i.kind != MAILBOX_SLOT)
			item = find_elsewhere(x, file, &file->items[i].i);
		if (item != FOLDER_COPIED)
			spare = item;
	}
	return spare;
}

bool folder_index_is_folded(struct folder_index *x, const struct folder_file *file,
			    const struct folder_item *item)
{
	sort_places(x);
	return find_elsewhere(x, file, &item->i) == FOLDER_FOLDED;
}

size_t folder_index_count_foldable(struct folder_index *x, const struct id *tag, uint64_t after,
				   uint64_t last)
{
	size_t count = 0;

	sort_places(x);
	for (size_t p = tag_position(x, tag); p < x->place_count; p++) {
		const struct folder_place *at = &x->places[p];
		const struct segment_item *i = &at->item->i;

		if (!id_eq(&i->tag, tag) || i->first > last)
			break;
		if (!at->file->own || !at->file->known || at->file->missing_ms)
			continue;
		if (i->kind == MAILBOX_STRATUM && last_of(i) == last)
			return 0;
		count += i->kind == MAILBOX_ENVELOPE && i->first > after && last_of(i) <= last;
	}
	return count;
}
