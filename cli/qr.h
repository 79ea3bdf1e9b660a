/* A QR code in a terminal, two rows of it a line. */
#ifndef BLAZE_CLI_QR_H
#define BLAZE_CLI_QR_H

#include "core/bytes.h"

/** Appends the drawing, each line indented. Nothing when text is too long for one. */
void qr_draw(const char *text, struct buf *out);

#endif
