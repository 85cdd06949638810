/*
 * A plugin of QEMU's translator that counts the guest's instructions (docs/adr/0190).
 *
 * Each block of translated code adds its length to the page of code that it begins in.
 * A page is told from others by its address in the guest and by the memory behind it,
 * so that two programs at one address are two pages. Whoever connects to the socket
 * gets all counts as text, and then the end of the stream:
 *
 *   page ADDRESS FINGERPRINT INSTRUCTIONS MOVED MOVES STORED STORES
 *
 * address and fingerprint (FNV-1a of the 4096 bytes when code of them was first met, 0
 * without memory) in hexadecimal. MOVED and STORED are steps of `rep movsb` and
 * `rep stosb`, which are among the instructions; MOVES and STORES say how often such
 * a step came after another instruction: as often, and once more, it was the last step,
 * which does nothing.
 *
 * Compiled with API=1 for QEMU before 9, API=2 from there on. The functions that are
 * used are the same in both; the header is not needed.
 */

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef void (*on_translation)(uint64_t, struct qemu_plugin_tb *);
typedef void (*on_execution)(unsigned, void *);
extern void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t, on_translation);
extern void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *, on_execution,
                                                 int flags, void *);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
extern uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *);
extern void *qemu_plugin_insn_haddr(const struct qemu_plugin_insn *);

#define EXPORTED __attribute__((visibility("default")))
/* The callback reads and writes no register. */
#define NO_REGISTERS 0
#define PAGE 4096u
/* More than the pages of code that a Linux guest of 128 MiB can have. */
#define PLACES (1u << 18)

EXPORTED int qemu_plugin_version = API;

enum step { NONE, MOVE, STORE };

struct page {
    uint64_t address, fingerprint;
    uintptr_t memory;
    uint64_t instructions, steps[3], begins[3];
};

struct block {
    struct page *page;
    uint32_t instructions;
    enum step last;
};

/* Open addressing. Entries are made by the translator, which is one thread with one
 * processor, and never go. */
static struct page *places[PLACES];
static int server;

static uint64_t fingerprint(const uint8_t *bytes)
{
    uint64_t value = 0xcbf29ce484222325;
    for (unsigned at = 0; at < PAGE; at++)
        value = (value ^ bytes[at]) * 0x100000001b3;
    return value;
}

static void *allocate(size_t size)
{
    void *memory = calloc(1, size);
    if (!memory) {
        fputs("count: no memory\n", stderr);
        abort();
    }
    return memory;
}

static struct page *page_of(uint64_t address, uintptr_t memory)
{
    uint64_t at = (address / PAGE) * 0x9e3779b97f4a7c15 ^ (memory / PAGE) * 0xc2b2ae3d27d4eb4f;
    for (unsigned tries = 0; tries < PLACES; tries++) {
        struct page **place = &places[((at >> 40) + tries) % PLACES];
        struct page *page = *place;
        if (page && page->address == address && page->memory == memory)
            return page;
        if (page)
            continue;
        page = allocate(sizeof *page);
        page->address = address;
        page->memory = memory;
        if (memory)
            page->fingerprint = fingerprint((const uint8_t *)memory);
        /* The server's thread sees it whole. */
        __atomic_store_n(place, page, __ATOMIC_RELEASE);
        return page;
    }
    fputs("count: too many pages of code\n", stderr);
    abort();
}

/* Whether an instruction is `rep movsb` or `rep stosb`: F3 A4, F3 AA, each with or
 * without REX. One that crosses pages is not looked at. */
static enum step step_of(const struct qemu_plugin_insn *instruction)
{
    const uint8_t *bytes = qemu_plugin_insn_haddr(instruction);
    if (!bytes || ((uintptr_t)bytes & (PAGE - 1)) > PAGE - 3 || bytes[0] != 0xf3)
        return NONE;
    uint8_t operation = (bytes[1] & 0xf0) == 0x40 ? bytes[2] : bytes[1];
    return operation == 0xa4 ? MOVE : operation == 0xaa ? STORE : NONE;
}

static void add(uint64_t *count, uint64_t more)
{
    /* One writer; read by another thread. */
    __atomic_store_n(count, *count + more, __ATOMIC_RELAXED);
}

static void executed(unsigned processor, void *data)
{
    (void)processor;
    const struct block *block = data;
    add(&block->page->instructions, block->instructions);
    if (block->last != NONE) {
        add(&block->page->steps[block->last], 1);
        if (block->instructions > 1)
            add(&block->page->begins[block->last], 1);
    }
}

static void translated(uint64_t id, struct qemu_plugin_tb *tb)
{
    (void)id;
    size_t count = qemu_plugin_tb_n_insns(tb);
    if (count == 0)
        return;
    const struct qemu_plugin_insn *first = qemu_plugin_tb_get_insn(tb, 0);
    uint64_t address = qemu_plugin_insn_vaddr(first) & ~(uint64_t)(PAGE - 1);
    uintptr_t memory = (uintptr_t)qemu_plugin_insn_haddr(first) & ~(uintptr_t)(PAGE - 1);
    struct block *block = allocate(sizeof *block);
    block->page = page_of(address, memory);
    block->instructions = count;
    /* A repeated step ends its block: the next step is a block of its own. */
    block->last = step_of(qemu_plugin_tb_get_insn(tb, count - 1));
    qemu_plugin_register_vcpu_tb_exec_cb(tb, executed, NO_REGISTERS, block);
}

static unsigned long long of(const uint64_t *count)
{
    return __atomic_load_n(count, __ATOMIC_RELAXED);
}

static void *serve(void *nothing)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    for (;;) {
        int peer = accept(server, NULL, NULL);
        FILE *text = peer < 0 ? NULL : fdopen(peer, "w");
        if (!text) {
            if (peer < 0 && errno != EINTR && errno != ECONNABORTED)
                return nothing;
            continue;
        }
        for (unsigned at = 0; at < PLACES; at++) {
            const struct page *page = __atomic_load_n(&places[at], __ATOMIC_ACQUIRE);
            if (page)
                fprintf(text, "page %llx %llx %llu %llu %llu %llu %llu\n",
                        (unsigned long long)page->address,
                        (unsigned long long)page->fingerprint, of(&page->instructions),
                        of(&page->steps[MOVE]), of(&page->begins[MOVE]),
                        of(&page->steps[STORE]), of(&page->begins[STORE]));
        }
        fputs("end\n", text);
        fclose(text);
    }
}

EXPORTED int qemu_plugin_install(uint64_t id, const void *info, int argc, char **argv)
{
    (void)info;
    struct sockaddr_un place = { .sun_family = AF_UNIX };
    const char *path = argc == 1 && !strncmp(argv[0], "socket=", 7) ? argv[0] + 7 : "";
    if (!*path || strlen(path) >= sizeof place.sun_path) {
        fputs("count: wanted socket=PATH, of 107 bytes at most\n", stderr);
        return -1;
    }
    strcpy(place.sun_path, path);
    unlink(path);
    server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    pthread_t thread;
    if (server < 0 || bind(server, (struct sockaddr *)&place, sizeof place) ||
        listen(server, 4) || pthread_create(&thread, NULL, serve, NULL)) {
        perror(path);
        return -1;
    }
    pthread_detach(thread);
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    return 0;
}
