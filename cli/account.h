/*
 * The person's account on this device: what is kept of it in the device's directory.
 *
 *   account.pub     its public key, as text
 *   account.words   the recovery words, until they could be shown on a terminal
 */
#ifndef BLAZE_CLI_ACCOUNT_H
#define BLAZE_CLI_ACCOUNT_H

#include "cli/out.h"

#include "core/account.h"
#include "core/why.h"

/**
 * The account's public key as text; makes the account when there is none. *ret_words are those of a new one, empty else; they
 * are in account.words until account_forget_words(). Wipe them.
 */
int account_open(const char *home, char **ret_text, struct buf *ret_words, struct why *why);
/** The words that were not shown yet: 0, or -ENOENT. */
int account_waiting_words(const char *home, struct buf *ret);
/** They were shown. */
int account_forget_words(const char *home);
/** Only on a terminal: where they go is where somebody reads them. */
void account_show_words(struct out *out, struct buf *words);
/** Whether there is one, to read and to write. */
bool account_has_terminal(void);
/** Asks for the words there, unseen: 0, or an exit code, the error being said in the name of `command`. Wipe *ret. */
int account_ask_words(struct out *out, const char *command, struct account *ret);

#endif
