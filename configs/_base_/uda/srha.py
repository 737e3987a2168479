# SRHA: regions exchange their style behind the stem; features stay close to those of the ImageNet
# network. Labelled source images alone.
uda = dict(type="SRHA")
