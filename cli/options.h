/*
 * Options as tables: one row says how an option is spelt, what it means and where its value goes. Parsing,
 * `--help` and `-o` of mount(8) all read the same rows.
 */
#ifndef BLAZE_CLI_OPTIONS_H
#define BLAZE_CLI_OPTIONS_H

#include "cli/out.h"

enum option_type {
	OPTION_FLAG,		  /**< bool */
	OPTION_TEXT,		  /**< const char *, borrowed from argv */
	OPTION_NUMBER,		  /**< int64_t >= 0 */
	OPTION_DURATION,	  /**< int64_t milliseconds; "30", "30s", "1.5m", "500ms", "1h" */
	OPTION_DURATION_OPTIONAL, /**< as above; INT64_MAX when given without a value */
	OPTION_LIST		  /**< struct option_list: may be given several times */
};

#define OPTION_LIST_MAX 32

struct option_list {
	const char *items[OPTION_LIST_MAX];
	size_t count;
};

struct option_row {
	const char *name; /**< long name; NULL: has only the short one */
	char letter;	  /**< short name; 0: has none */
	enum option_type type;
	const char *value; /**< what --help calls the value, such as "A:P" */
	const char *help;
	size_t offset; /**< of the field in the command's options struct */
	bool in_o;     /**< may also stand in `-o name=value`, '_' meaning '-' */
};

struct usage {
	const char *name;
	const char *operands; /**< "NAME DIR" */
	int operands_max;
	const char *summary; /**< one line, for `blaze --help` */
	const char *notes;   /**< further lines for `blaze CMD --help`; may be NULL */
	const struct option_row *rows;
	size_t row_count;
};

/**
 * Parses argv into *options (the struct the rows' offsets are of), moving operands behind options.
 * Returns the index of the first operand; or 0 when there is nothing more to do, after help or an error,
 * with *ret_code the exit code. Any thread.
 */
int options_parse(const struct usage *u, void *options, int argc, char **argv, struct out *out,
		  int *ret_code);

/**
 * Applies one `name` or `name=value` of -o to *options. 1 = done, 0 = no row has this name,
 * -EINVAL = the value is wrong or missing. The text is borrowed, and cut at '='.
 */
int options_apply_o(const struct usage *u, void *options, char *text);

void options_print_help(const struct usage *u, struct out *out);
/** Milliseconds, or -EINVAL. */
int64_t options_duration(const char *text);
/** The nearest of count names by edit distance, NULL when none is near. */
const char *options_nearest(const char *text, const char *const *names, size_t count);

#endif
