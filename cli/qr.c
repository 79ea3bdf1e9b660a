/* QR codes by libqrencode, as half blocks. Colours are set, so that it is black on white in any terminal. */
#include "cli/qr.h"

#include <qrencode.h>

#define QUIET 4 /* modules around it that scanners want */
#define INDENT "    "

/* Beyond the edge all is light. */
static bool is_dark(const QRcode *code, int x, int y)
{
	if (x < 0 || y < 0 || x >= code->width || y >= code->width)
		return false;
	return code->data[y * code->width + x] & 1;
}

void qr_draw(const char *text, struct buf *out)
{
	static const char *const cells[] = {" ", "▄", "▀", "█"}; /* upper half dark = 2, lower = 1 */
	QRcode *code = QRcode_encodeString(text, 0, QR_ECLEVEL_L, QR_MODE_8, 1);

	if (!code)
		return;
	for (int y = -QUIET; y < code->width + QUIET; y += 2) {
		buf_printf(out, INDENT "\033[30;107m");
		for (int x = -QUIET; x < code->width + QUIET; x++) {
			unsigned cell = (is_dark(code, x, y) ? 2u : 0u) +
					(is_dark(code, x, y + 1) ? 1u : 0u);

			buf_printf(out, "%s", cells[cell]);
		}
		buf_printf(out, "\033[0m\n");
	}
	QRcode_free(code);
}
