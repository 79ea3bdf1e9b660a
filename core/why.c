/* Explanations of failures. */
#include "core/why.h"

#include <stdarg.h>
#include <stdio.h>

int why_set(struct why *why, int r, const char *format, ...)
{
	va_list args;

	if (!why)
		return r;
	va_start(args, format);
	(void)vsnprintf(why->text, sizeof(why->text), format, args);
	va_end(args);
	return r;
}
