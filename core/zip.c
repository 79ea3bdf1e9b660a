/* zstd, one frame at a time. */
#include "core/zip.h"

#include <zstd.h>

void zip_pack(struct slice plain, int level, struct buf *out)
{
	size_t bound = ZSTD_compressBound(plain.len);

	buf_varint(out, plain.len);
	size_t n = ZSTD_compress(buf_reserve(out, bound), bound, plain.data, plain.len, level);
	assert(!ZSTD_isError(n)); /* only memory or room could be missing */
	out->len += n;
}

int zip_unpack(struct slice packed, size_t max, struct buf *ret)
{
	struct reader r = reader_init(packed);
	size_t len = (size_t)reader_varint_max(&r, max);
	struct slice frame = reader_take(&r, reader_left(&r));

	buf_clear(ret);
	/* The frame's own word comes first: nothing is allocated for a length that it does not have. */
	if (r.bad || frame.len == 0 || ZSTD_getFrameContentSize(frame.data, frame.len) != len ||
	    ZSTD_findFrameCompressedSize(frame.data, frame.len) != frame.len)
		return -EBADMSG;
	if (ZSTD_decompress(buf_reserve(ret, len + 1), len, frame.data, frame.len) != len)
		return -EBADMSG;
	ret->len = len;
	return 0;
}
