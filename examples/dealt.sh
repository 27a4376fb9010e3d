#!/bin/sh
# A placement policy that is a program: experts in order, and from the first again while slots are left.
#
#     railyard compare --backend sim --slots 288 --placement 'exec:sh examples/dealt.sh'
question=$(cat)
number() { printf '%s' "$question" | sed "s/.*\"$1\":\([0-9]*\).*/\1/"; }
awk -v experts="$(number num_experts)" -v slots="$(number slots)" 'BEGIN {
    printf "{\"physical_to_logical_map\":["
    for (slot = 0; slot < slots; slot++) printf "%s%d", slot ? "," : "", slot % experts
    print "]}"
}'
