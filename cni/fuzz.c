/* SPDX-License-Identifier: Apache-2.0
 *
 * Feeds noise to whatever in the plugin reads what others wrote: the
 * configuration, CNI's variables, the daemon's answer. Whatever it says must
 * be a CNI error object, or the answer's own body.
 */
#define _GNU_SOURCE
#include <assert.h>
#include <setjmp.h>
#include <stdint.h>
#include <unistd.h>

static jmp_buf ended;
static ssize_t said(const void *text, size_t size);

#define main plugin_main
#define _exit(status) longjmp(ended, 1)
#define write(file, text, size) said(text, size)
#include "plugin.c"

static ssize_t said(const void *text, size_t size)
{
    const char *at = text;
    int quotes = 0;
    assert(size > 10 && memcmp(at, "{\"cniVersion\":\"", 15) == 0);
    assert(memcmp(at + size - 3, "\"}\n", 3) == 0);
    for (size_t i = 0; i + 1 < size; i++) {
        assert(at[i] >= ' ' && at[i] != '\\');
        quotes += at[i] == '"';
    }
    assert(quotes == 10);
    return (ssize_t)size;
}

static void read_answer(const char *text, size_t size)
{
    int good;
    memcpy(answer, text, size);
    answer[size] = '\0';
    const char *body = check_answer(answer, size, &good);
    assert(body >= answer && body <= answer + size);
    assert(good || *body == '{');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char text[1 << 16];
    size = size < sizeof text ? size : sizeof text - 1;
    memcpy(text, data, size);
    text[size] = '\0';
    strcpy(version, "1.1.0");
    find_version(text);
    assert(strspn(version, ".0123456789") == strlen(version));
    if (setjmp(ended) == 0)
        read_answer(text, size);
    setenv("CNI_ARGS", text, 1);
    setenv("CNI_NETNS", text + size / 2, 1);
    if (setjmp(ended) == 0) {
        size_t written = write_head(size);
        assert(written == strlen(head) && written < sizeof head);
        assert(strcmp(head + written - 4, "\r\n\r\n") == 0);
        assert(strstr(head, "\r\n\r\n") == head + written - 4);
    }
    return 0;
}
