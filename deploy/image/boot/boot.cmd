# U-Boot's part of the two slots; the other is root/usr/lib/edgeagent-image/slot.
#
# The state is two equal copies of one checksummed environment on the partition `state`: copy 1 is written before
# copy 0, so whatever moment the power fails, one of them is whole. BOOT_ORDER says which slot is tried first,
# BOOT_x_LEFT how often each may still be tried. An attempt is counted *before* it is made; a unit that reaches a
# healthy state sets the counter back (edgeagent-commit.service).

setenv read_state 'load @DISK@:2 ${loadaddr} slots-${copy}.env && env import -c ${loadaddr} 0x1000 BOOT_ORDER BOOT_A_LEFT BOOT_B_LEFT BOOT_A_GOOD BOOT_B_GOOD'
setenv keep_state 'env export -c -s 0x1000 ${loadaddr} BOOT_ORDER BOOT_A_LEFT BOOT_B_LEFT BOOT_A_GOOD BOOT_B_GOOD && fatwrite @DISK@:2 ${loadaddr} slots-1.env 0x1000 && fatwrite @DISK@:2 ${loadaddr} slots-0.env 0x1000'
# The kernel and the initrd of a slot are at fixed places in it; bootm checks the checksum of each.
setenv boot_slot 'part start @DISK@ ${part} begin && setexpr begin ${begin} + @KERNEL_AT_SECTORS@ && @READ_COMMAND@ @READ_ADDRESS@ ${begin} @KERNEL_SECTORS@ && bootm @READ_ADDRESS@ @INITRD_ADDRESS@ @DEVICE_TREE@'

setenv copy 0
if run read_state; then
    echo "slots: ${BOOT_ORDER} A=${BOOT_A_LEFT} B=${BOOT_B_LEFT}"
else
    setenv copy 1
    if run read_state; then
        echo "slots: ${BOOT_ORDER} A=${BOOT_A_LEFT} B=${BOOT_B_LEFT} (from the second copy)"
    else
        echo "slots: no state; starting with A"
        setenv BOOT_ORDER "A B"; setenv BOOT_A_LEFT 3; setenv BOOT_B_LEFT 3; setenv BOOT_A_GOOD 1; setenv BOOT_B_GOOD 1
    fi
fi

for slot in ${BOOT_ORDER}; do
    if test ${slot} = A; then setenv left ${BOOT_A_LEFT}; setenv part 3; else setenv left ${BOOT_B_LEFT}; setenv part 4; fi
    if test ${left} -gt 0; then
        setexpr left ${left} - 1
        setenv BOOT_${slot}_LEFT ${left}
        run keep_state || echo "slots: the state cannot be written"
        setenv bootargs "edgeagent.slot=${slot} rauc.slot=${slot} console=@CONSOLE@ panic=10 ro quiet systemd.gpt_auto=no init_on_free=1"
        echo "slots: trying ${slot}, ${left} left"
        run boot_slot
        echo "slots: ${slot} cannot be started"
    fi
done

# Nothing was left to try, or neither could be started: from the beginning, rather than a unit that stays dark.
echo "slots: all attempts used; counting from the beginning"
setenv BOOT_A_LEFT 3; setenv BOOT_B_LEFT 3
run keep_state
reset
