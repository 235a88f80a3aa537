/* Compiled into the kernels by a test: the matrix unit in plain C, as Intel's manual describes it. */
#include <immintrin.h>
#include <string.h>
#define EMULATED_TILES 1
#undef _tile_loadconfig
#undef _tile_release
#undef _tile_loadd
#undef _tile_stored
#undef _tile_zero
#undef _tile_dpbf16ps
#define _tile_loadconfig emulated_loadconfig
#define _tile_release() (void)0
#define _tile_loadd(t, from, ld) emulated_load(t, (const char *)(from), ld)
#define _tile_stored(t, to, ld) emulated_store(t, (char *)(to), ld)
#define _tile_zero(t) memset(&tile_data[t], 0, sizeof(tile_data[t]))
#define _tile_dpbf16ps emulated_product

static __thread unsigned tile_data[8][16][16]; /* cells */
static __thread struct {
    unsigned char palette, start, reserved[14];
    unsigned short bytes[16];
    unsigned char rows[16];
} tile_config;

static void emulated_loadconfig(const void *config) {
    memcpy(&tile_config, config, sizeof(tile_config));
    memset(tile_data, 0, sizeof(tile_data));
}
static void emulated_load(int t, const char *from, long ld) {
    memset(tile_data[t], 0, sizeof(tile_data[t]));
    for (int r = 0; r < tile_config.rows[t]; r++) memcpy(tile_data[t][r], from + r * ld, tile_config.bytes[t]);
}
static void emulated_store(int t, char *to, long ld) {
    for (int r = 0; r < tile_config.rows[t]; r++) memcpy(to + r * ld, tile_data[t][r], tile_config.bytes[t]);
}
static float emulated_number(unsigned bits) {
    float x;
    memcpy(&x, &bits, sizeof(x));
    return x;
}
static void emulated_product(int c, int a, int b) {
    if (tile_config.bytes[a] != 4 * tile_config.rows[b] || tile_config.rows[a] != tile_config.rows[c] ||
        tile_config.bytes[b] != tile_config.bytes[c] || tile_config.palette != 1)
        __builtin_trap(); /* as the processor does */
    for (int i = 0; i < tile_config.rows[c]; i++)
        for (int k = 0; k < tile_config.rows[b]; k++)
            for (int j = 0; j < tile_config.bytes[c] / 4; j++) {
                unsigned x = tile_data[a][i][k], y = tile_data[b][k][j];
                float sum = emulated_number(tile_data[c][i][j]);
                sum += emulated_number(x << 16) * emulated_number(y << 16);
                sum += emulated_number(x & 0xffff0000u) * emulated_number(y & 0xffff0000u);
                memcpy(&tile_data[c][i][j], &sum, sizeof(sum));
            }
}
