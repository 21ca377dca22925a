#!/bin/sh
# dracut wants to know the root device before it starts; with cos.roothash= on the command line
# finding it is cos-init's work, and rd.cos.disable hands it back to dracut's own root=.
if getarg cos.roothash= > /dev/null && ! getargbool 0 rd.cos.disable; then
    root=cos
    rootok=1
    export root rootok
fi
